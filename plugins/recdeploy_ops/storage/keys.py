"""The layout of the storage root. No other module builds its keys.

::

    ledger/{seq:08d}.json                 one entry each; ledger/snapshot.jsonl is a copy for quick reading
    ledger-damaged/{YYYYMMDD_HHMMSS}/     what recommender_adopt has set aside
    releases/{run}/{what}/{digest}/       extract, row-hashes, results, artifact, gate-models of one run, and
                                          backtests of what it has made: immutable bundles
    releases/{run}/reports/, settings/    its gate reports and the settings that it works with
    backups/v{N}_{YYYYMMDD_HHMMSS}/       recommender_model_artifact/, results/, metadata.json, manifest.json; with
                                          _{8 digits of its digest} if it was stored again without a customer
    backups/deployment_state.json         the guide's state file, derived from the ledger
    adopted/v{N}/{digest}/                artifacts that recommender_adopt fetched from the catalog
    messages/{key}/{channel}.json         which message went to which channel, so that none goes there twice
    current/manifest.json                 which artifact and results are current: rewritten when that changes
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from recdeploy_ops.oci_clients.tags import run_slug

if TYPE_CHECKING:
    from datetime import datetime

LEDGER = "ledger/"
LEDGER_ASIDE = "ledger-damaged/"
RELEASES = "releases/"
BACKUPS = "backups/"
ADOPTED = "adopted/"
MESSAGES = "messages/"
POINTERS = "current/"
FOLDERS = (LEDGER, LEDGER_ASIDE, RELEASES, BACKUPS, ADOPTED, MESSAGES, POINTERS)
SNAPSHOT = f"{LEDGER}snapshot.jsonl"
ENTRY = re.compile(rf"{LEDGER}\d{{8}}\.json")
BACKUP_NAME = r"v(\d{1,9})_(\d{8}_\d{6})(?:_[0-9a-f]{8})?"  # with digits of its digest if it was stored again
BACKUP_MANIFEST = re.compile(rf"{BACKUPS}{BACKUP_NAME}/manifest\.json", re.ASCII)
BACKUP_VERSION = re.compile(rf"{BACKUPS}v(\d{{1,9}})_", re.ASCII)  # the guide's manager names its folders so, too
BACKUP_FILE = re.compile(
    rf"({BACKUPS}v(\d{{1,9}})_([^/]+))/(.+)", re.ASCII
)  # folder, version, the rest of its name, file
BACKUP_ARTIFACT, BACKUP_RESULTS = "recommender_model_artifact", "results"  # the parts of a backup
BACKUP_METADATA = "metadata.json"
RESULTS = re.compile(rf"{RELEASES}[A-Za-z0-9_][A-Za-z0-9_.-]*/results/[0-9a-f]{{16}}")
REPORT_FILE = re.compile(rf"{RELEASES}[^/]+/(reports?)/[^/]+", re.ASCII)
STATE_FILE = f"{BACKUPS}deployment_state.json"
CURRENT = f"{POINTERS}manifest.json"


def entry_key(seq: int) -> str:
    """Return the key of the ledger's entry with this number."""
    return f"{LEDGER}{seq:08d}.json"


def aside_prefix(at: datetime) -> str:
    """Return the prefix below which objects of the ledger are set aside at this time."""
    return f"{LEDGER_ASIDE}{at:%Y%m%d_%H%M%S}/"


def run_prefix(run_id: str, what: str) -> str:
    """Return the prefix of a run's objects of one kind, e.g. ``artifact``."""
    return slug_prefix(run_slug(run_id), what)


def slug_prefix(slug: str, what: str) -> str:
    """Return the same from the run's slug, which tags have."""
    return f"{RELEASES}{slug}/{what}"


def bundle_prefix(parent: str, digest: str) -> str:
    """Return the prefix of a bundle, which has its digest so that a retry cannot mix two bundles."""
    return f"{parent}/{digest[:16]}"


def names_bundle(prefix: str, digest: str) -> bool:
    """Return whether the prefix of a bundle has the first digits of this digest, as `bundle_prefix` gives it."""
    return prefix == bundle_prefix(prefix.rpartition("/")[0], digest)


def backup_prefix(version: int, at: datetime) -> str:
    """Return the prefix of a backup of a version."""
    return f"{BACKUPS}v{version}_{at:%Y%m%d_%H%M%S}"


def message_key(message: str, channel: str) -> str:
    """Return the key of the mark that a message, by its own key, went to a channel."""
    return f"{MESSAGES}{message}/{channel}.json"


def is_page(key: str) -> bool:
    """Return whether a key of `REPORT_FILE` is a page for people, or its JSON: gate reports are in another folder."""
    return key.split("/")[2] == "report"


def rewritten_backup_prefix(prefix: str, digest: str) -> str:
    """Return the prefix of a backup that is stored again with another content."""
    name = re.fullmatch(rf"({BACKUPS}v\d+_\d{{8}}_\d{{6}}).*", prefix)
    return f"{name[1] if name else prefix}_{digest[:8]}"


def adopted_prefix(version: int) -> str:
    """Return the prefix of an adopted version's artifact."""
    return f"{ADOPTED}v{version}"
