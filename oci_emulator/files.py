"""Responses whose body is a file on disk, or a range of it."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import BinaryIO

from starlette.responses import Response, StreamingResponse

from oci_emulator.errors import OciError

_CHUNK = 256 * 1024


class RangeNotSatisfiableError(OciError):
    """The requested range lies outside the content."""

    status = 416
    code = "InvalidRange"


def file_response(path: Path, headers: Mapping[str, str], range_header: str | None) -> Response:
    """Return the file's content, or a part of it (206) for a `range` header.

    The file is opened now, so that a later replacement or deletion does not affect the response.
    """
    size = path.stat().st_size
    part = parse_range(range_header, size)
    start, end = part or (0, size)
    status = 206 if part else 200
    sent = {**headers, "content-length": str(end - start), "accept-ranges": "bytes"}
    if part:
        sent["content-range"] = f"bytes {start}-{end - 1}/{size}"
    file = path.open("rb")
    file.seek(start)
    if end - start > _CHUNK:
        return StreamingResponse(_chunks(file, end - start), status, sent)
    with file:
        return Response(file.read(end - start), status, sent)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return start and end (exclusive) of `bytes=a-b`, `bytes=a-` or `bytes=-n`; None for any other header.

    Raises RangeNotSatisfiableError for a range that begins after the end.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if start >= end:
        raise RangeNotSatisfiableError(f"The range {header} lies outside of {size} bytes.")
    return start, end


async def _chunks(file: BinaryIO, left: int) -> AsyncIterator[bytes]:
    with file:
        while left:
            chunk = await asyncio.to_thread(file.read, min(_CHUNK, left))
            if not chunk:
                return
            left -= len(chunk)
            yield chunk
