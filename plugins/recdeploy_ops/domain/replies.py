"""What an endpoint answered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reply:
    """The answer to one predict request.

    Attributes:
        status: HTTP status; 0 when none came (no connection, or not in time).
        body: the parsed JSON; None when there was none.
        seconds: from the request to the last byte.
    """

    status: int
    body: object
    seconds: float
