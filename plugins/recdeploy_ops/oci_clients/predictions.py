"""Send requests to a deployment: repeat lost ones, and stay below the tenancy's rate limit."""

from __future__ import annotations

import json
import logging
import random
import time
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.codec import shorten
from recdeploy_ops.domain.errors import CloudRefusedError, CloudThrottledError, CloudUnavailableError
from recdeploy_ops.domain.records import LONGEST_SHOWN, NO_ANSWER, Reply
from recdeploy_ops.domain.remedies import GrantPolicy
from recdeploy_ops.oci_clients.calls import calling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recdeploy_ops.oci_clients.sessions import OciSession

log = logging.getLogger(__name__)

# Answers of the gateway before the model: they say nothing about what the deployment serves.
# https://docs.oracle.com/en-us/iaas/Content/data-science/using/model-dep-predict-endpoint.htm
LOST = frozenset(
    {
        NO_ANSWER,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND})
PREDICT_POLICY = GrantPolicy(
    "Allow the user of the OCI connection to call model deployments (permission "
    "DATA_SCIENCE_MODEL_DEPLOYMENT_PREDICT), and check that the deployment's URL is reachable"
)
LONGEST_ANSWER = 8 << 20  # characters; OCI's gateway passes on 10 MB at most, and 1,000 products have 0.1 MB
# OCI allows 150 requests a second for a whole tenancy; most of them must be left to its customers.
PACE_SECONDS = 1 / 100


@dataclass(frozen=True)
class Repeats:
    """How a lost request is sent again.

    Attributes:
        times: how often, at most.
        first_seconds: the wait before the first repeat; each further wait is twice as long.
    """

    times: int = 0
    first_seconds: float = 0.5

    def delays(self) -> Iterator[float]:
        """Yield the seconds to wait before each repeat, with jitter."""
        for number in range(self.times):
            yield self.first_seconds * 2**number * random.uniform(0.75, 1.25)  # noqa: S311 - jitter


@dataclass
class Predictions:
    """Sends requests to deployments of one tenancy, never faster than `PACE_SECONDS` allows.

    Args:
        session: signs the requests.
    """

    session: OciSession
    _next: float = field(default=0.0, init=False)

    def sender(self, url: str, *, timeout_seconds: float, fresh: bool) -> Callable[[object], Reply]:
        """Return a function that sends a request to a URL once; a lost one is an answer with a status of `LOST`."""
        base_url, _, name = url.rpartition("/")
        client = self.session.predictions(base_url, timeout_seconds=timeout_seconds)

        def send(request: object) -> Reply:
            body = request if isinstance(request, str) else json.dumps(request, ensure_ascii=True)
            if fresh:
                client.base_client.session.close()
            self._keep_pace()
            started = time.perf_counter()
            status, answer = _predict(client, name, body, url)
            return Reply(status, answer, time.perf_counter() - started)

        return send

    def asker(self, url: str, *, timeout_seconds: float, fresh: bool, repeats: Repeats) -> Callable[[object], Reply]:
        """Return a function that sends a request to a URL and returns the answer; see `ModelDeployments.asker`."""
        send = self.sender(url, timeout_seconds=timeout_seconds, fresh=fresh)

        def ask(request: object) -> Reply:
            reply, lost = send(request), []
            for seconds in repeats.delays():
                if reply.status not in LOST:
                    break
                log.warning("%s did not answer; sending the request again in %.1f s: %s", url, seconds, reply.body)
                lost.append(reply.status)
                time.sleep(seconds)
                reply = send(request)
            if reply.status in LOST:
                raise _lost(url, reply, len(lost) + 1)
            return replace(reply, lost=tuple(lost))

        return ask

    def _keep_pace(self) -> None:
        now = time.monotonic()
        if now < self._next:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + PACE_SECONDS


def _predict(client: Any, deployment_id: str, body: str, url: str) -> tuple[int, object]:
    """Return the status and the parsed body of an answer, or `NO_ANSWER` and the reason."""
    import oci.exceptions

    try:
        with calling(f"predict at {url}"):
            try:
                answer = client.predict(deployment_id, body)
            except oci.exceptions.ServiceError as err:
                return err.status, {"code": err.code, "message": shorten(str(err.message), LONGEST_SHOWN)}
    except CloudUnavailableError as err:
        return NO_ANSWER, err.message
    return answer.status, _parsed(answer.data)


def _parsed(text: str) -> object:
    """Return an answer's JSON, or the beginning of its text if it is not JSON, nested too deep, or too long."""
    if len(text) > LONGEST_ANSWER:
        return f"{len(text):,} characters, beginning with {text[:LONGEST_SHOWN]!r}"
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _lost(url: str, reply: Reply, tries: int) -> CloudRefusedError | CloudUnavailableError:
    requested = f"{tries} requests to {url}/predict" if tries > 1 else f"A request to {url}/predict"
    if reply.status == NO_ANSWER:
        return CloudUnavailableError(f"{requested} got no answer: {reply.body}")
    body = reply.body if isinstance(reply.body, dict) else {}
    code = str(body.get("code") or "")
    message = f"{requested}: OCI answered {reply.status} {code}: {body.get('message') or reply.body}"
    if reply.status in REFUSED:
        return CloudRefusedError(f"{message}.", PREDICT_POLICY, status=reply.status, code=code)
    is_throttled = reply.status == HTTPStatus.TOO_MANY_REQUESTS
    return CloudThrottledError(message) if is_throttled else CloudUnavailableError(message)
