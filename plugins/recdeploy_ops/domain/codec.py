"""Frozen dataclasses as plain JSON values and back, strictly: what the ledger stores is what the code declares.

A field at its default is not written, so a field with a default can be added later without changing the bytes and the
hash of earlier entries.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

FREE_TEXT = "free text"
FreeText = Annotated[str, FREE_TEXT]  # what a person or OCI wrote; compare it with text that was `escaped`

T = TypeVar("T")


def to_plain(record: Any) -> dict[str, Any]:
    """Return a dataclass as plain JSON values."""
    stored = {field.name: (getattr(record, field.name), field.default) for field in fields(record)}
    return {name: _plain(value) for name, (value, default) in stored.items() if default is MISSING or value != default}


def from_plain(kind: type[T], value: object) -> T:
    """Return the dataclass that `to_plain` turned into plain values.

    Raises:
        TypeError, ValueError: a field is missing, unknown, or has a value of another type; names it.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{kind.__name__} is {value!r:.80}, not an object")
    hints = _hints(kind)  # type: ignore[arg-type] # mypy does not know that classes are hashable
    unknown = sorted(set(value) - set(hints))
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {', '.join(unknown)}")
    decoded = {}
    for field in fields(kind):  # type: ignore[arg-type] # a dataclass, as its caller knows
        if field.name in value:
            decoded[field.name] = _decode(f"{kind.__name__}.{field.name}", hints[field.name], value[field.name])
        elif field.default is MISSING:
            raise ValueError(f"{kind.__name__} lacks the field {field.name}")
    return kind(**decoded)


def storable(record: T) -> T:
    """Return a record that UTF-8 can carry: lone surrogates in free text are escaped.

    Raises:
        ValueError: any other text, such as an id, has one; names the field.
    """
    hints = _hints(type(record))  # type: ignore[arg-type] # mypy does not know that classes are hashable
    changed: dict[str, Any] = {}
    for field in fields(record):  # type: ignore[arg-type] # a dataclass, as its caller knows
        value = getattr(record, field.name)
        if _is_free_text(hints[field.name]):
            changed[field.name] = _escaped(value)
        elif is_dataclass(value):
            changed[field.name] = storable(value)
        else:
            _require_utf8(field.name, _plain(value))
    return replace(record, **changed)  # type: ignore[type-var] # a dataclass, as its caller knows


def escaped(text: str) -> str:
    r"""Return free text as it is stored: a lone surrogate, which UTF-8 cannot carry, as its escape ``\ud800``."""
    return text.encode("utf-8", "backslashreplace").decode()


def shorten(text: str, length: int) -> str:
    """Return a text without its middle if it is longer than this."""
    if len(text) <= length:
        return text
    half = (length - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def one_line(text: str, length: int = 255) -> str:
    """Return a name that others gave as one line of at most this length, with other characters escaped.

    Otherwise a line break in it would look like a line of our log.
    """
    shown = shorten(text, length)
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in shown)


def _escaped(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_escaped, value))
    return escaped(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_plain(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}


def _decode(name: str, hint: Any, value: Any) -> Any:
    if hint is Any:
        return value
    origin = get_origin(hint)
    if origin is Annotated:
        return _decode(name, get_args(hint)[0], value)
    if origin in {Union, types.UnionType}:
        return _decode_union(name, get_args(hint), value)
    if origin is tuple:
        _require(name, value, list)
        return tuple(_decode(name, get_args(hint)[0], item) for item in value)
    if origin is Mapping:
        _require(name, value, dict)
        return {key: _decode(f"{name}[{key}]", get_args(hint)[1], item) for key, item in value.items()}
    if is_dataclass(hint):
        return from_plain(hint, value)  # type: ignore[arg-type] # a dataclass, not an instance of one
    if hint is datetime or issubclass(hint, Enum):
        return _decode_text(name, hint, value)
    _require(name, value, hint)
    return value


def _decode_text(name: str, hint: Any, value: Any) -> Any:
    _require(name, value, str)
    try:
        return datetime.fromisoformat(value) if hint is datetime else hint(value)
    except ValueError as err:
        raise ValueError(f"{name} is {value!r:.80}: {err}") from err


def _decode_union(name: str, choices: tuple[Any, ...], value: Any) -> Any:
    if value is None and types.NoneType in choices:
        return None
    problem: Exception | None = None
    for choice in choices:
        if choice is types.NoneType:
            continue
        try:
            return _decode(name, choice, value)
        except (TypeError, ValueError) as err:
            problem = err
    raise TypeError(f"{name} is {value!r:.80}: {problem}")


def _require(name: str, value: object, kind: type) -> None:
    """Refuse a value of another type; an integer is a float too, but a bool is not a number."""
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise TypeError(f"{name} is {value!r:.80}, not {kind.__name__}")


def _is_free_text(hint: Any) -> bool:
    return FREE_TEXT in getattr(hint, "__metadata__", ()) or any(map(_is_free_text, get_args(hint)))


def _require_utf8(name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            _require_utf8(name, item)
    elif isinstance(value, str) and _escaped(value) != value:
        raise ValueError(f"{name} has the text {value!a}, which UTF-8 cannot carry (a lone surrogate)")
