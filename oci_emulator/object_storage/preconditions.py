"""`if-match` and `if-none-match` as Object Storage has them."""

from oci_emulator.errors import NoEtagMatchError
from oci_emulator.messages import OciRequest


def check_preconditions(request: OciRequest, etag: str | None) -> None:
    """Refuse a change unless the object's etag (None: no object exists) is what the request expects."""
    expected = request.headers.get("if-match")
    if expected is not None and (etag is None or expected not in ("*", etag)):
        raise NoEtagMatchError(f"The etag is {etag or 'none: nothing is there'}, not {expected}.", code="IfMatchFailed")
    unwanted = request.headers.get("if-none-match")
    if unwanted is not None and etag is not None and unwanted in ("*", etag):
        raise NoEtagMatchError(f"It exists already, with etag {etag}.", code="IfNoneMatchFailed")


def is_unchanged(request: OciRequest, etag: str) -> bool:
    """Return whether a reader has this version already; raise when it wants another with `if-match`."""
    expected = request.headers.get("if-match")
    if expected not in (None, "*", etag):
        raise NoEtagMatchError(f"The etag is {etag}, not {expected}.", code="IfMatchFailed")
    return request.headers.get("if-none-match") in ("*", etag)
