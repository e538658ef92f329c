"""The free-form tags that this project sets in OCI; only this module has their names."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.domain.records import Role

PROJECT_TAG = "recdeploy-project"
VERSION_TAG = "recdeploy-version"
ROLE_TAG = "recdeploy-role"
RUN_TAG = "recdeploy-run"
DIGEST_TAG = "recdeploy-digest"
LEASE_TAG = "recdeploy-lease"  # until when housekeeping keeps a test deployment
LEDGER_TAG = "recdeploy-ledger"  # number and hash of the newest entry of the ledger
HOLDER_TAG = "recdeploy-holder"  # changed to invalidate production's etag
SERVED_TAG = "recdeploy-served"  # since when a model was verified to serve

RESULTS_METADATA = "results"  # of a model: where its training results are stored, in case the ledger is lost
CODE_METADATA = "code"  # of a model: sha256 over the source files that made it

SLUG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")
VERSION = re.compile(r"[1-9][0-9]{0,11}")
HIGHEST_FROM_TAGS = 10**9 - 1  # higher numbers in tags are ignored: `VERSION` must match the numbers that follow

Tags = dict[str, str]


def run_slug(run_id: str) -> str:
    """Return a run id in a form that is safe, short and unique in storage keys and tag values."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id).strip(".-")[:80]
    return f"{safe}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def version_tags(project: str, *, run: str, version: int, digest: str) -> Tags:
    """Return the tags of a version's model; a deployment also has a role.

    Args:
        project: name of the project.
        run: identifies the run that made it: its slug, on a deployment with the ledger's origin.
        version: number of the version.
        digest: digest of its artifact.
    """
    return {PROJECT_TAG: project, VERSION_TAG: str(version), RUN_TAG: run, DIGEST_TAG: digest}


def lease_tag(end: datetime) -> Tags:
    """Return the tag of a lease.

    Args:
        end: of the lease, UTC.
    """
    return {LEASE_TAG: end.isoformat(timespec="seconds")}


def without_lease(tags: Mapping[str, str]) -> Tags:
    """Return tags without a lease: production does not have one."""
    return {name: value for name, value in tags.items() if name != LEASE_TAG}


def is_lease_over(tags: Mapping[str, str], now: datetime) -> bool:
    """Return whether a lease has ended; a missing or unreadable lease never has: a person must look."""
    try:
        return datetime.fromisoformat(tags.get(LEASE_TAG, "")) <= now
    except (ValueError, TypeError):
        return False


def slug_of(tags: Mapping[str, str]) -> str:
    """Return the run's slug in the tags; ``unknown`` if `run_slug` cannot have made it."""
    slug = tags.get(RUN_TAG, "")
    return slug if SLUG.fullmatch(slug) else "unknown"


def digest_of(tags: Mapping[str, str]) -> str:
    """Return the digest in the tags; empty if there is none or it is not a sha256."""
    digest = tags.get(DIGEST_TAG, "")
    return digest if SHA256.fullmatch(digest) else ""


def has_role(tags: Mapping[str, str], project: str, role: Role) -> bool:
    """Return whether a project's deployment is tagged with a role."""
    return tags.get(PROJECT_TAG) == project and tags.get(ROLE_TAG) == role


def version_number(tags: Mapping[str, str]) -> int | None:
    """Return the version number in the tags; None if there is none that a release could have."""
    number = tags.get(VERSION_TAG, "")
    return int(number) if VERSION.fullmatch(number) else None
