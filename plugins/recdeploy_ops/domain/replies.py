"""What an endpoint answered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reply:
    """One answer of a model deployment.

    Attributes:
        status: HTTP status.
        body: the parsed JSON, or the text when it is none.
        seconds: from sending the request to having the whole answer.
    """

    status: int
    body: object
    seconds: float
