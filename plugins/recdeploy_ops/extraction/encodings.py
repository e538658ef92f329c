"""Texts that are not valid UTF-8: drivers return a database's bytes unchecked."""

from __future__ import annotations

import pyarrow as pa

from recdeploy_ops.domain.codec import escaped


def is_utf8(texts: pa.Array) -> bool:
    """Return whether texts are UTF-8."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def raw_bytes(texts: pa.Array) -> list[bytes | None]:
    """Return the bytes of each text, None for NULL."""
    contents: list[bytes | None] = texts.cast(pa.large_binary()).to_pylist()
    return contents


def decoded(content: bytes) -> str:
    """Return bytes as text, with everything that is not UTF-8 escaped."""
    try:
        return escaped(content.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        return content.decode("utf-8", "backslashreplace")
