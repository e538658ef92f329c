"""The emulated tenancy, its compartments, and the format of OCI's ids and times."""

import secrets
import string
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from oci_emulator.credentials import COMPARTMENT, TENANCY, USER
from oci_emulator.errors import InvalidParameterError, MissingParameterError, ResourceNotFoundError
from oci_emulator.store import Json

NAMESPACE = "emulator"
_ID_ALPHABET = string.ascii_lowercase + "234567"
_MAX_FREEFORM_TAGS = 10
_MAX_TAG_KEY = 100
_MAX_TAG_VALUE = 256


@dataclass(frozen=True)
class Tenancy:
    """The tenancy with its compartments, which include the tenancy itself."""

    compartments: Collection[str] = (COMPARTMENT, TENANCY)
    namespace: str = NAMESPACE
    user: str = USER

    def check_compartment(self, compartment: str | None) -> str:
        """Return `compartment`; raise ResourceNotFoundError if the tenancy does not have it."""
        if not compartment:
            raise MissingParameterError("compartmentId is missing.")
        if compartment not in self.compartments:
            raise ResourceNotFoundError(f"compartment {compartment}")
        return compartment


def new_ocid(kind: str) -> str:
    """Return a new id of this kind: `ocid1.<kind>.oc1.iad.` and 60 letters and digits."""
    return f"ocid1.{kind}.oc1.iad." + "".join(secrets.choice(_ID_ALPHABET) for _ in range(60))


def timestamp(moment: datetime | None = None) -> str:
    """Return a time, by default the present, in OCI's format: RFC 3339, UTC, milliseconds."""
    utc = (moment or datetime.now(UTC)).astimezone(UTC)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def timestamp_of(seconds: float) -> str:
    """Return a Unix time in OCI's format."""
    return timestamp(datetime.fromtimestamp(seconds, UTC))


def parse_timestamp(text: object, name: str) -> datetime:
    """Return the time in a field of a request. Raises InvalidParameterError."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError as err:
        raise InvalidParameterError(f"{name} is {text!r}, not a time as RFC 3339 defines it.") from err
    if moment.tzinfo is None:
        raise InvalidParameterError(f"{name} is {text!r}, which has no time zone.")
    return moment


def check_tags(body: Json) -> None:
    """Refuse more than 10 free-form tags, and too long keys or values."""
    tags = body.get("freeformTags") or {}
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise InvalidParameterError("freeformTags is not an object of strings.")
    if len(tags) > _MAX_FREEFORM_TAGS:
        raise InvalidParameterError(f"{len(tags)} freeform tags were given; at most {_MAX_FREEFORM_TAGS} are allowed.")
    for key, value in tags.items():
        if not 1 <= len(key) <= _MAX_TAG_KEY:
            raise InvalidParameterError(f"The freeform tag key {key!r} is not 1 to {_MAX_TAG_KEY} characters long.")
        if len(value) > _MAX_TAG_VALUE:
            raise InvalidParameterError(
                f"The value of freeform tag {key!r} is longer than {_MAX_TAG_VALUE} characters."
            )
