"""Bodies that are streamed to disk."""

import base64
import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.requests import Request

from oci_emulator.messages import Upload


@asynccontextmanager
async def received(request: Request, folder: Path) -> AsyncIterator[Upload]:
    """Stream the body to a temporary file in `folder`, which is removed at the end unless it was kept."""
    path = folder / uuid.uuid4().hex
    # MD5 is the checksum of OCI's protocol, not a protection.
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    try:
        with path.open("xb") as file:
            async for chunk in request.stream():
                file.write(chunk)
                md5.update(chunk)
                sha256.update(chunk)
                size += len(chunk)
        yield Upload(path, size, _text(md5.digest()), _text(sha256.digest()))
    finally:
        path.unlink(missing_ok=True)


def _text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
