"""The free-form tags that this project sets in OCI: the one place that knows their names."""

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
LEASE_TAG = "recdeploy-lease"  # until when housekeeping leaves a test deployment alone
LEDGER_TAG = "recdeploy-ledger"  # number and hash of the newest entry of the ledger
HOLDER_TAG = "recdeploy-holder"  # changed to invalidate production's etag
SERVED_TAG = "recdeploy-served"  # since when a model was verified to serve

RESULTS_METADATA = "results"  # of a model: where its training results lie, for when the ledger is lost
CODE_METADATA = "code"  # of a model: sha256 over the source files that made it

SLUG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")
VERSION = re.compile(r"[1-9][0-9]{0,11}")
HIGHEST_FROM_TAGS = 10**9 - 1  # a higher number in a tag does not count: what follows it must still be read

Tags = dict[str, str]


def run_slug(run_id: str) -> str:
    """Return a run id as a piece of a storage key and a tag value: safe, short and unique."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id).strip(".-")[:80]
    return f"{safe}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def version_tags(project: str, *, run: str, version: int, digest: str) -> Tags:
    """Return the tags of a version's model; those of a deployment have a role as well.

    Args:
        project: its name.
        run: what names the run that made it: its slug, with more on a deployment.
        version: its number.
        digest: of its artifact.
    """
    return {PROJECT_TAG: project, VERSION_TAG: str(version), RUN_TAG: run, DIGEST_TAG: digest}


def lease_tag(end: datetime) -> Tags:
    """Return the tag of a lease that ends at a time, UTC."""
    return {LEASE_TAG: end.isoformat(timespec="seconds")}


def without_lease(tags: Mapping[str, str]) -> Tags:
    """Return tags without a lease: production has none."""
    return {name: value for name, value in tags.items() if name != LEASE_TAG}


def is_lease_over(tags: Mapping[str, str], now: datetime) -> bool:
    """Return whether a lease has ended; one that is not ours never has: a person must look."""
    try:
        return datetime.fromisoformat(tags.get(LEASE_TAG, "")) <= now
    except (ValueError, TypeError):
        return False


def slug_of(tags: Mapping[str, str]) -> str:
    """Return the run's slug that tags name; ``unknown`` where there is none that `run_slug` could have made."""
    slug = tags.get(RUN_TAG, "")
    return slug if SLUG.fullmatch(slug) else "unknown"


def digest_of(tags: Mapping[str, str]) -> str:
    """Return the digest that tags name; empty where there is none, or it is not a sha256."""
    digest = tags.get(DIGEST_TAG, "")
    return digest if SHA256.fullmatch(digest) else ""


def has_role(tags: Mapping[str, str], project: str, role: Role) -> bool:
    """Return whether a project's deployment is tagged with a role."""
    return tags.get(PROJECT_TAG) == project and tags.get(ROLE_TAG) == role


def version_number(tags: Mapping[str, str]) -> int | None:
    """Return the version number that tags name; None where they name none that a release could have."""
    number = tags.get(VERSION_TAG, "")
    return int(number) if VERSION.fullmatch(number) else None
