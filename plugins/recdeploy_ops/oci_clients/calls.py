"""Translate the SDK's errors into ours."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import CloudRefusedError, CloudUnavailableError, OutOfCapacityError
from recdeploy_ops.domain.remedies import ChangeSetting, GrantPolicy, Remedy
from recdeploy_ops.domain.waiting import is_out_of_capacity

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY = frozenset({"IncorrectState", "LockConflict", "Conflict", "IfMatchFailed", "NoEtagMatch"})

REMEDIES = {
    401: GrantPolicy(
        "Check tenancy, user, fingerprint and key of the OCI connection, and renew its session token if it has one "
        "(oci session refresh, or authenticate); a renewed file is read without a restart"
    ),
    404: GrantPolicy("Correct the OCID in the OCI connection, or add a policy that allows this to its user"),
}
# https://docs.oracle.com/en-us/iaas/Content/API/Concepts/signingrequests.htm: five minutes, either way.
OF_CLOCKS = re.compile(r"(?i)clock skew")
CORRECT_CLOCK = Remedy(
    "Correct the clock of the machine that sent this (chronyc tracking, timedatectl): OCI accepts five minutes"
)
# OCI words a refusal of tags in several ways; each names a tag, tags or a TagNamespace.
OF_TAGS = re.compile(r"(?i)\btags?\b|tagnamespace")
CORRECT_TAGS = ChangeSetting(
    "Give each tag that the compartment requires, and none that the tenancy does not have", setting="tags.defined"
)


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Translate the SDK's errors into ours.

    Args:
        what: the request to OCI, beginning with a verb, for the message.

    Raises:
        OutOfCapacityError: OCI has no machine now.
        CloudUnavailableError: no answer or a cut one, 429, 5xx, or the resource is busy or was changed meanwhile.
        CloudRefusedError: any other refusal.
    """
    import oci.exceptions
    import requests.exceptions
    import urllib3.exceptions
    from circuitbreaker import CircuitBreakerError

    no_answer = (
        oci.exceptions.RequestException,
        oci.exceptions.ConnectTimeout,
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,  # raised while a body is streamed
    )
    try:
        yield
    except oci.exceptions.ServiceError as err:
        answer = f"OCI refused to {what}: {err.status} {err.code}: {err.message} (opc-request-id {err.request_id})"
        if err.status >= 500 and is_out_of_capacity(str(err.message)):
            raise OutOfCapacityError(answer) from err
        is_busy = err.code in BUSY or (err.status == 409 and not err.code)  # an answer to HEAD has no code
        if is_busy or err.status in {412, 429} or err.status >= 500:
            raise CloudUnavailableError(answer) from err
        raise CloudRefusedError(f"{answer}.", _find_remedy(err), status=err.status, code=err.code) from err
    except no_answer as err:
        raise CloudUnavailableError(f"OCI did not answer the request to {what}: {err}") from err
    except CircuitBreakerError as err:
        # Not `from err`: its text is a dump of the last failure with all of its headers.
        raise CloudUnavailableError(f"OCI failed too often; not sending the request to {what} {_wait(err)}") from None


def _wait(err: Any) -> str:
    """Return how long the SDK's circuit breaker holds requests back, and what failed last, in words."""
    breaker = err._circuit_breaker  # it has no public name
    last = breaker.last_failure
    words = f"{last.status} {last.code}: {last.message}" if hasattr(last, "status") else type(last).__name__
    return f"for another {max(breaker.open_remaining, 0):.0f} s. The last failure was {words}"


def _find_remedy(err: Any) -> Remedy | None:
    """Return what a person does about the SDK's error; None if its message is enough."""
    if err.status == 401 and OF_CLOCKS.search(str(err.message)):
        return CORRECT_CLOCK
    if err.status == 400 and OF_TAGS.search(str(err.message)):
        return CORRECT_TAGS
    return REMEDIES.get(err.status)
