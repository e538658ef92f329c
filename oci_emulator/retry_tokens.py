"""Replays the first response to a request with the same `opc-retry-token`."""

import asyncio
import base64
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.responses import Response

from oci_emulator.errors import InvalidatedRetryTokenError
from oci_emulator.messages import OciRequest
from oci_emulator.store import Json, Store

KEEP_SECONDS = 24 * 3600
_GONE = frozenset({"DELETED"})


class RetryTokens:
    """Remembers the successful response to each token for a day."""

    def __init__(self, store: Store) -> None:
        """Store the responses in `store`, where they survive a restart."""
        self._store = store
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: defaultdict[str, int] = defaultdict(int)

    @asynccontextmanager
    async def alone(self, request: OciRequest) -> AsyncIterator[None]:
        """Let requests with the same token run one after the other."""
        token = _key(request)
        if token is None:
            yield
            return
        self._waiting[token] += 1
        try:
            async with self._locks[token]:
                yield
        finally:
            self._waiting[token] -= 1
            if not self._waiting[token]:
                del self._waiting[token], self._locks[token]

    def knows(self, request: OciRequest) -> bool:
        """Return whether there was an earlier response to this token."""
        return self._find(request) is not None

    def replay(self, request: OciRequest, upload: str = "") -> Response | None:
        """Return the earlier response to this token, if any; `upload` is the digest of a streamed body.

        Raises InvalidatedRetryTokenError if the token came with another body, or if its resource was deleted.
        """
        reply = self._find(request)
        if reply is None:
            return None
        if reply["fingerprint"] != _fingerprint(request, upload):
            raise InvalidatedRetryTokenError("The retry token was used before with another request.")
        if reply["made"] and self._is_gone(reply["made"]):
            raise InvalidatedRetryTokenError(f"The retry token created {reply['made']}, which has been deleted.")
        response = Response(base64.b64decode(reply["body"]), reply["status"])
        response.raw_headers = [(name.encode(), value.encode()) for name, value in reply["headers"]]
        return response

    def remember(self, request: OciRequest, response: Response, upload: str = "") -> None:
        """Store a successful response, in the transaction of its change."""
        key = _key(request)
        if key is None:
            return
        now = time.time()
        reply = {
            "fingerprint": _fingerprint(request, upload),
            "made": _created(response),
            "status": response.status_code,
            "headers": [(name.decode(), value.decode()) for name, value in response.raw_headers],
            "body": base64.b64encode(bytes(response.body)).decode(),
        }
        run = self._store.connection.execute
        run("DELETE FROM retry_tokens WHERE expires <= ?", (now,))
        run("INSERT OR REPLACE INTO retry_tokens VALUES (?, ?, ?)", (key, now + KEEP_SECONDS, json.dumps(reply)))

    def _find(self, request: OciRequest) -> Json | None:
        row = self._store.connection.execute(
            "SELECT reply FROM retry_tokens WHERE token = ? AND expires > ?", (_key(request), time.time())
        ).fetchone()
        return json.loads(row[0]) if row else None

    def _is_gone(self, identifier: str) -> bool:
        resource = self._store.find_any(identifier)
        return resource is None or resource.body.get("lifecycleState") in _GONE


def _key(request: OciRequest) -> str | None:
    token = request.headers.get("opc-retry-token")
    return f"{request.operation.name} {token}" if token and request.operation.method == "POST" else None


def _fingerprint(request: OciRequest, upload: str) -> str:
    """Return a digest of what must be equal for a replay: the path and the body."""
    parts = [json.dumps(dict(request.path), sort_keys=True).encode(), upload.encode(), request.body]
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def _created(response: Response) -> str | None:
    body = json.loads(bytes(response.body) or b"null")
    return body.get("id") if isinstance(body, dict) else None
