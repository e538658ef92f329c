"""`if-match` and `if-none-match` of Object Storage."""

from oci_emulator.errors import NoEtagMatchError
from oci_emulator.messages import OciRequest


def check_preconditions(request: OciRequest, etag: str | None) -> None:
    """Refuse a change unless the etag (None: no object exists) is as the request expects."""
    expected = request.headers.get("if-match")
    if expected is not None and (etag is None or expected not in ("*", etag)):
        raise NoEtagMatchError(f"The etag is {etag or 'none (no such object)'}, not {expected}.", code="IfMatchFailed")
    unwanted = request.headers.get("if-none-match")
    if unwanted is not None and etag is not None and unwanted in ("*", etag):
        raise NoEtagMatchError(f"It already exists, with etag {etag}.", code="IfNoneMatchFailed")


def is_unchanged(request: OciRequest, etag: str) -> bool:
    """Return whether the reader already has this version; refuse a wrong `if-match`."""
    expected = request.headers.get("if-match")
    if expected not in (None, "*", etag):
        raise NoEtagMatchError(f"The etag is {etag}, not {expected}.", code="IfMatchFailed")
    return request.headers.get("if-none-match") in ("*", etag)
