"""Texts as people save them in files, and as ids."""

from __future__ import annotations

import codecs

# What a file may begin with, and the encoding that it then has. UTF-32 would begin like UTF-16; nobody saves it.
MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

LONGEST_ID = 1024  # characters of a user's or an item's id; score.py knows no longer ones


def decode_text(content: bytes) -> str:
    r"""Return the text of a file, with ``\n`` at the end of its lines.

    It is UTF-8, or UTF-16 that says so in its first bytes, as Windows editors save it.

    Raises:
        ValueError: it is neither; the message says where, and what to do.
    """
    mark, encoding = next(((mark, name) for mark, name in MARKS if content.startswith(mark)), (b"", "utf-8"))
    body = content[len(mark) :]
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as err:
        line = body[: err.start].count(b"\n") + 1
        raise ValueError(
            f"line {line} has the byte 0x{body[err.start]:02x}, which is not {encoding.upper()}: save the file as UTF-8"
        ) from err
    return text.replace("\r\n", "\n").replace("\r", "\n")
