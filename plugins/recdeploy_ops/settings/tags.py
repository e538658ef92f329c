"""The section ``tags``: the tags that a tenancy wants on every resource."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from recdeploy_ops.settings.types import Section

# OCI's limits on a resource: https://docs.oracle.com/en-us/iaas/Content/Tagging/Concepts/taggingoverview.htm
MOST_FREEFORM, MOST_DEFINED = 10, 64
OWN_PREFIX = "recdeploy-"
OWN_TAGS = 7  # free-form tags that this project sets on production at most (during a takeover); a model has fewer
ROOM = MOST_FREEFORM - OWN_TAGS

Key = Annotated[str, Field(pattern=r"^[^\s.]{1,100}$")]
Value = Annotated[str, Field(max_length=256)]


class TagSettings(Section):
    """Tags of new models, model version sets and deployments."""

    freeform: dict[Key, Value] = {}  # noqa: RUF012 - pydantic copies it for each instance
    defined: dict[Key, dict[Key, Value]] = {}  # noqa: RUF012 - likewise

    @field_validator("freeform")
    @classmethod
    def _check_freeform(cls, value: dict[str, str]) -> dict[str, str]:
        if len(value) > ROOM:
            raise ValueError(
                f"{len(value)} tags: OCI allows {MOST_FREEFORM} free-form tags on a resource, and this project sets up "
                f"to {OWN_TAGS} itself, so that {ROOM} are left. Write the others as defined tags"
            )
        own = [key for key in value if key.casefold().startswith(OWN_PREFIX)]
        if own:
            raise ValueError(f"{own[0]!r}: this project sets the tags that begin with {OWN_PREFIX} itself")
        return value

    @field_validator("defined")
    @classmethod
    def _check_defined(cls, value: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        number = sum(map(len, value.values()))
        if number > MOST_DEFINED:
            raise ValueError(f"{number} tags: OCI allows {MOST_DEFINED} defined tags on a resource")
        return value


NO_TAGS = TagSettings()
