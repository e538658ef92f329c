"""Conversion of columns from any database to ids, ratings or texts; `times` has points in time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from recdeploy_ops.domain.codec import shorten
from recdeploy_ops.domain.errors import SourceDataError
from recdeploy_ops.domain.texts import LONGEST_ID
from recdeploy_ops.extraction.encodings import decoded, is_utf8, raw_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_EXACT_FLOAT = 2**53 - 1
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
BYTES = (bytes, bytearray, memoryview)
LONGEST_VALUE = 120  # characters of a value in a message
# In the metadata of a column that became text here: the index of the first such value.
HOLDS_BYTES, HOLDS_NO_ID, HOLDS_NO_UTF8 = "recdeploy-bytes", "recdeploy-no-id", "recdeploy-no-utf8"


@dataclass(frozen=True)
class Location:
    """The location of a batch of one column, for messages.

    Attributes:
        query: name of the query file.
        column: the column, as the query returns it.
        first_row: number of the batch's first row in the sorted result, from 1.
    """

    query: str
    column: str
    first_row: int

    def error(self, values: pa.Array, index: int, problem: str) -> SourceDataError:
        """Return the error about one value."""
        return self._error(index, shorten(repr(values[index].as_py()), LONGEST_VALUE), problem)

    def encoding_error(self, escaped: str, index: int) -> SourceDataError:
        """Return the error about an id that UTF-8 cannot carry, with its escaped text."""
        problem = "is not text that UTF-8 can carry: correct it in the table, or let the query replace it."
        return self._error(index, f"'{escaped}'", problem)

    def _error(self, index: int, shown: str, problem: str) -> SourceDataError:
        row = self.first_row + index
        return SourceDataError(f"{self.query}, column {self.column}, row {row} of the sorted result: {shown} {problem}")


def id_texts(values: pa.Array, location: Location) -> pa.Array:
    """Return ids as text: opaque, neither trimmed nor normalised; NULL stays NULL.

    Raises:
        SourceDataError: a value has no unique text, such as a float with a fraction, or a text that is not UTF-8 or
            longer than `LONGEST_ID`.
    """
    found = _id_texts(values, location)
    too_long = pc.index(pc.greater(pc.utf8_length(found), LONGEST_ID), True).as_py()
    if too_long >= 0:
        problem = f"has {len(found[too_long].as_py()):,} characters; an id may have {LONGEST_ID:,}."
        raise location.error(found, too_long, problem)
    return found


def _id_texts(values: pa.Array, location: Location) -> pa.Array:
    values = _flat(values)
    if is_text(values.type) and not is_utf8(values):
        _refuse_unencodable(values, location)
    kind = values.type
    if is_text(kind) or types.is_integer(kind) or types.is_null(kind):
        return values.cast(pa.string())
    if types.is_floating(kind):
        return _integral_floats(values, location)
    if types.is_decimal(kind):
        return _integral_decimals(values, location)
    if _is_binary(kind):
        return texts(values)
    raise _no_id(location, values, first_valid(values))


def ratings(values: pa.Array, location: Location) -> pa.Array:
    """Return ratings as float64; NULL, NaN and infinities stay, for the data gate.

    Raises:
        SourceDataError: a value is not a number.
    """
    values = plain(values)
    kind = values.type
    if types.is_decimal(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind):
        return values.cast(pa.float64(), safe=False)
    if types.is_boolean(kind):
        return values.cast(pa.uint8()).cast(pa.float64())
    if not is_text(kind):
        raise location.error(values, first_valid(values), "is not a number: let the query return a number.")
    problem = "is not a number: let the query return a number or NULL."
    return convert_each(values, location, _rating_of, pa.float64(), problem)


def texts(values: pa.Array) -> pa.Array:
    r"""Return a column of any type as text; NULL stays NULL, bytes become upper-case hex.

    Text that UTF-8 cannot carry is escaped, e.g. a lone surrogate as ``\ud800``.
    """
    values = plain(values)
    if not _is_binary(values.type):
        try:
            return values.cast(pa.string())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            pass  # nested or exotic: Python's text of each value
    return pa.array([None if v is None else text_of(v) for v in values.to_pylist()], pa.string())


def text_of(value: Any) -> str:
    """Return the text of one Python value, as `texts` returns it."""
    if isinstance(value, str):
        return value
    if isinstance(value, BYTES):
        return bytes(value).hex().upper()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_EXACT_FLOAT:
        return str(int(value))
    return str(value)


def is_id(value: Any) -> bool:
    """Return whether a Python value, alone in a column, would be an id for `id_texts`."""
    if isinstance(value, float):
        return value.is_integer() and abs(value) <= LARGEST_EXACT_FLOAT
    if isinstance(value, Decimal):
        return value.is_finite() and value == value.to_integral_value()
    return not isinstance(value, bool | date)


def refuse_marked(field: pa.Field, values: pa.Array, location: Location, *marks: str) -> None:
    """Refuse a column that became text here because of values that it must not have.

    Args:
        field: of the column, as `sources.table_of` returns it.
        values: the column.
        location: of the batch.
        marks: of the values that it must not have.

    Raises:
        SourceDataError: it has one; says where.
    """
    metadata = field.metadata or {}
    for mark in (mark for mark in marks if mark.encode() in metadata):
        index = int(metadata[mark.encode()])
        if mark == HOLDS_NO_UTF8:
            raise location.encoding_error(plain(values)[index].as_py(), index)
        if mark == HOLDS_NO_ID:
            raise _no_id(location, plain(values), index)
        problem = "is bytes (here in hex): let the query return a number."
        raise location.error(plain(values), index, problem)


def plain(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array of a basic type; texts in valid UTF-8, escaped like in `texts`."""
    values = _flat(values)
    if is_text(values.type) and not is_utf8(values):
        return pa.array([None if v is None else decoded(v) for v in raw_bytes(values)], pa.string())
    return values


def _flat(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
        if isinstance(values, pa.ChunkedArray):
            values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if types.is_string_view(values.type):  # Arrow casts it to hardly any other type
        return values.cast(pa.string())
    if isinstance(values.type, pa.BaseExtensionType):
        return pa.array([None if v is None else str(v) for v in values.to_pylist()], pa.string())
    return values


def _refuse_unencodable(texts: pa.Array, location: Location) -> None:
    for index, content in enumerate(raw_bytes(texts)):
        if content is not None and (text := decoded(content)).encode() != content:
            raise location.encoding_error(text, index)


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column has text."""
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )


def first_valid(values: pa.Array) -> int:
    """Return the index of the first value that is not NULL; -1 if there is none."""
    return int(pc.index(values.is_valid(), True).as_py())


def _no_id(location: Location, values: pa.Array, index: int) -> SourceDataError:
    return location.error(
        values,
        index,
        f"({values.type}) is not an id that keeps its value as text: let the query return text, such as "
        f"CAST({location.column} AS VARCHAR(40)).",
    )


def _integral_floats(values: pa.Array, location: Location) -> pa.Array:
    numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    exact = (np.abs(numbers) <= LARGEST_EXACT_FLOAT) & (np.trunc(numbers) == numbers)
    wrong = np.flatnonzero(~exact & values.is_valid().to_numpy(zero_copy_only=False))
    if wrong.size:
        raise _no_id(location, values, int(wrong[0]))
    return values.cast(pa.int64()).cast(pa.string())


def _integral_decimals(values: pa.Array, location: Location) -> pa.Array:
    whole = pa.decimal128(38, 0) if types.is_decimal128(values.type) else pa.decimal256(76, 0)
    try:
        return values.cast(whole).cast(pa.string())
    except pa.ArrowInvalid as err:
        listed = enumerate(values.to_pylist())
        wrong = (i for i, v in listed if v is not None and v != v.to_integral_value())
        raise _no_id(location, values, next(wrong, first_valid(values))) from err


def convert_each(
    values: pa.Array, location: Location, convert: Callable[[str], Any], kind: pa.DataType, problem: str
) -> pa.Array:
    """Return the values as Python converts them, one by one.

    Args:
        values: texts.
        location: of the batch.
        convert: raises ValueError or OverflowError for a text that it cannot convert.
        kind: of the result.
        problem: what is wrong with such a text.

    Raises:
        SourceDataError: a text cannot be converted.
    """
    converted: list[Any] = []
    for index, value in enumerate(values.to_pylist()):
        try:
            converted.append(None if value is None else convert(value))
        except (ValueError, OverflowError) as err:
            raise location.error(values, index, problem) from err
    return pa.array(converted, kind)


def _rating_of(value: str) -> float:
    if not NUMBER.fullmatch(value.strip()):
        raise ValueError(value)
    return float(value)
