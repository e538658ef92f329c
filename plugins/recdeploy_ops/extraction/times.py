"""Conversion of columns to points in time; and what a number more likely means than the year 1970."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from recdeploy_ops.extraction.values import convert_each, first_valid, is_text, plain

if TYPE_CHECKING:
    from recdeploy_ops.extraction.values import Location

TIMESTAMP = pa.timestamp("us", tz="UTC")
SECONDS = re.compile(r"-?\d+(\.\d+)?")
# The year 5138 in seconds, 1973 in milliseconds: a larger number is not a count of seconds.
LARGEST_EPOCH = 10**11
# Of a spreadsheet's day numbers, which count from this day: 1954 to 2173. As seconds they are the first day of 1970.
SPREADSHEET_START, SPREADSHEET_DAYS = date(1899, 12, 30), (20_000, 100_000)
# Of dates written as YYYYMMDD. As seconds they are of August 1970.
DATES = (19_000_101, 21_001_231)
# What a datetime can be, in microseconds since 1970.
EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
_NO_MOMENT = (
    "is not a point in time: let the query return a timestamp, a date, ISO 8601 text or seconds since 1970 "
    "(divide milliseconds by 1000), or set source.timestamp_column to null."
)


def timestamps(values: pa.Array, location: Location) -> pa.Array:
    """Return points in time in UTC with microseconds; those without a time zone count as UTC.

    Dates, timestamps, ISO 8601 texts and seconds since 1970 are accepted.

    Raises:
        SourceDataError: a value is none of these.
    """
    values = plain(values)
    kind = values.type
    if types.is_date(kind):
        values = values.cast(pa.timestamp("us"))
    if types.is_timestamp(values.type):
        fine = values.cast(pa.timestamp("us", tz=values.type.tz), safe=False)
        _refuse_years(fine, location)
        return fine.cast(TIMESTAMP) if fine.type.tz else pc.assume_timezone(fine, "UTC")
    if types.is_null(kind):
        return values.cast(TIMESTAMP)
    if is_text(kind):
        try:
            return pc.assume_timezone(values.cast(pa.timestamp("us")), "UTC")
        except pa.ArrowInvalid:
            return convert_each(values, location, _moment_of, TIMESTAMP, _NO_MOMENT)
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return _epochs(values, location)
    raise location.error(values, first_valid(values), _NO_MOMENT)


def likelier_reading(seconds: float) -> str | None:
    """Return what a number is if it is hardly a count of seconds since 1970, in words; None for all others."""
    if DATES[0] <= seconds <= DATES[1] and seconds.is_integer():
        with suppress(ValueError):
            return f"{date.fromisoformat(str(int(seconds)))}, written as YYYYMMDD"
    if SPREADSHEET_DAYS[0] <= seconds < SPREADSHEET_DAYS[1]:
        return f"{SPREADSHEET_START + timedelta(days=int(seconds))}, as a spreadsheet counts days"
    return None


def describe_readings(seconds: float, likelier: str) -> str:
    """Return the problem of such a number, with what to do."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return (
        f"would be {moment:%Y-%m-%d %H:%M:%S} in seconds since 1970, but is rather {likelier}: let the query return a "
        "date, a timestamp or ISO 8601 text."
    )


def _refuse_years(moments: pa.Array, location: Location) -> None:
    """Refuse what no datetime of Python can be, such as a date before Christ."""
    micros = moments.cast(pa.int64())
    outside = pc.or_(pc.less(micros, EARLIEST), pc.greater(micros, LATEST)).fill_null(False)
    index = pc.index(outside, True).as_py()
    if index >= 0:
        raise location.error(moments.cast(pa.string()), index, "is not within the years 1 to 9999: correct it.")


def _epochs(values: pa.Array, location: Location) -> pa.Array:
    seconds = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(valid & ~(np.abs(seconds) < LARGEST_EPOCH))
    if wrong.size:
        raise location.error(values, int(wrong[0]), _NO_MOMENT)
    for index in map(int, np.flatnonzero(valid & (seconds >= SPREADSHEET_DAYS[0]) & (seconds <= DATES[1]))):
        if likelier := likelier_reading(float(seconds[index])):
            raise location.error(values, index, describe_readings(float(seconds[index]), likelier))
    micros = np.round(np.where(valid, seconds, 0) * 1e6).astype(np.int64)
    return pa.array(micros, mask=~valid).cast(TIMESTAMP)


def _moment_of(value: str) -> datetime:
    if SECONDS.fullmatch(value) and len(value) > len("YYYYMMDD"):
        if abs(float(value)) >= LARGEST_EPOCH:
            raise ValueError(value)
        return datetime.fromtimestamp(float(value), UTC)
    moment = datetime.fromisoformat(value.strip())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
