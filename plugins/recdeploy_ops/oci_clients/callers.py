"""Name the person who runs a notebook or a command, for the ledger."""

from __future__ import annotations

import getpass
import os
import re
from typing import TYPE_CHECKING

from recdeploy_ops.domain.codec import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping

OCID = re.compile(r"\((?P<ocid>ocid1\.[^()]+)\)$")


def name_caller(key: Mapping[str, str]) -> str:
    """Return who runs this: the system user, with the OCID of the OCI user or notebook session if it is known.

    In OCI's notebook sessions, every system user is called datascience.

    Args:
        key: the key fields of the OCI profile.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = f"uid-{os.getuid()}"
    ocid = key.get("user") or os.environ.get("USER_OCID") or os.environ.get("NB_SESSION_OCID")
    return escaped(f"{user} ({ocid})" if ocid else user)


def are_same_person(one: str, other: str | None) -> bool:
    """Return whether two names from `name_caller` belong to the same person.

    If both have OCIDs, those decide: the system's user name can be set by LOGNAME.
    """
    ocids = [match["ocid"] if match else None for match in (OCID.search(name or "") for name in (one, other))]
    return ocids[0] == ocids[1] if all(ocids) else one == other
