"""OCI's error responses.

OciError
├── InvalidParameterError              400
├── MissingParameterError              400
├── CannotParseRequestError            400
├── RelatedResourceNotFoundError       400
├── NotAuthenticatedError              401
├── ClockSkewError                     401, NotAuthenticated
├── RetentionRuleViolationError        403
├── NotFoundError                      404, no such operation
├── ResourceNotFoundError              404, NotAuthorizedOrNotFound
├── MethodNotAllowedError              405
├── IncorrectStateError                409, worth retrying
├── ConflictError                      409, not worth retrying
├── InvalidatedRetryTokenError         409
├── LengthRequiredError                411
├── NoEtagMatchError                   412
├── PayloadTooLargeError               413
├── InternalServerError                500
└── NotImplementedByEmulatorError      501

Source of the codes: https://docs.oracle.com/en-us/iaas/Content/API/References/apierrors.htm
"""


class OciError(Exception):
    """An error response: HTTP status, OCI's error code, and a message for the caller."""

    status = 500
    code = "InternalServerError"

    def __init__(self, message: str, *, code: str | None = None, status: int | None = None) -> None:
        """Set the message; code and status default to those of the class."""
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.status = status or self.status


class InvalidParameterError(OciError):
    """A value in the request is not allowed."""

    status = 400
    code = "InvalidParameter"


class MissingParameterError(OciError):
    """A value that the operation requires is absent."""

    status = 400
    code = "MissingParameter"


class CannotParseRequestError(OciError):
    """The body cannot be parsed."""

    status = 400
    code = "CannotParseRequest"


class RelatedResourceNotFoundError(OciError):
    """The body names a resource that does not exist."""

    status = 400
    code = "RelatedResourceNotAuthorizedOrNotFound"


class NotAuthenticatedError(OciError):
    """The request's signature is absent or wrong."""

    status = 401
    code = "NotAuthenticated"

    def __init__(self, reason: str) -> None:
        """Append `reason` to OCI's own sentence."""
        super().__init__(
            f"The required information to complete authentication was not provided or was incorrect: {reason}"
        )


class ClockSkewError(OciError):
    """The date of the request is too far from the service's clock."""

    status = 401
    code = "NotAuthenticated"


class RetentionRuleViolationError(OciError):
    """A retention rule protects the object."""

    status = 403
    code = "RetentionRuleViolation"


class NotFoundError(OciError):
    """OCI has no operation at this path."""

    status = 404
    code = "NotFound"


class ResourceNotFoundError(OciError):
    """The path or query names a resource that does not exist."""

    status = 404
    code = "NotAuthorizedOrNotFound"

    def __init__(self, what: str, *, code: str | None = None) -> None:
        """Name the resource in the message."""
        super().__init__(f"Authorization failed or requested resource not found: {what}", code=code)


class MethodNotAllowedError(OciError):
    """The path does not support the method."""

    status = 405
    code = "MethodNotAllowed"


class IncorrectStateError(OciError):
    """The resource's lifecycle state does not admit the operation now."""

    status = 409
    code = "IncorrectState"


class ConflictError(OciError):
    """The resource's state does not admit the operation, and waiting will not help."""

    status = 409
    code = "Conflict"


class InvalidatedRetryTokenError(OciError):
    """The retry token was used before and cannot be replayed."""

    status = 409
    code = "InvalidatedRetryToken"


class LengthRequiredError(OciError):
    """The request has a body of unknown length."""

    status = 411
    code = "LengthRequired"


class NoEtagMatchError(OciError):
    """The resource has changed since the caller read the etag in `if-match`."""

    status = 412
    code = "NoEtagMatch"


class PayloadTooLargeError(OciError):
    """The body is larger than the operation accepts."""

    status = 413
    code = "PayloadTooLarge"


class InternalServerError(OciError):
    """The service failed."""


class NotImplementedByEmulatorError(OciError):
    """OCI has the operation, the emulator does not."""

    status = 501
    code = "NotImplemented"
