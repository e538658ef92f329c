"""Import an externally built artifact into a release: an artifact folder, or ADS's ``GenericModel``.

If the release's own steps made the artifact, recommendations (CSV) and extract come from them. An artifact that was
built elsewhere has no extract, but the gates need one: its users and products are taken from its own lists. The gates
then compare the lists with themselves, which detects only a damaged artifact. Therefore the data gate says HOLD, and
the approver reads why.
"""

from __future__ import annotations

import csv
import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recdeploy_ops.artifacts.artifact import DATABASE, FALLBACK, FORMAT
from recdeploy_ops.artifacts.stored_lists import open_rankings, read_fallback, read_products
from recdeploy_ops.artifacts.templates import is_shipped
from recdeploy_ops.deployment_manager.assumed_extracts import store_assumed_extract
from recdeploy_ops.domain.errors import IntegrityError, SettingsError
from recdeploy_ops.domain.events import ArtifactBuilt, ModelTrained
from recdeploy_ops.storage.bundles import MANIFEST, sha256_of, store_bundle, write_manifest
from recdeploy_ops.training.recommendations import RECOMMENDATIONS
from recdeploy_ops.training.runs import RESULTS
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import Release
    from recdeploy_ops.settings import SourceSettings

log = logging.getLogger(__name__)

FILES = ("score.py", "runtime.yaml", "README.md", DATABASE, FALLBACK)
NEEDED = ("score.py", "runtime.yaml", DATABASE, FALLBACK)
COMING = "docs/coming-from-the-notebook.md"


def folder_of(model: Any) -> Path:
    """Return the artifact folder of a model.

    Args:
        model: a path, or an ADS ``GenericModel``.

    Raises:
        SettingsError: it is neither, the folder does not exist, or it is not an artifact of this project.
    """
    path = getattr(model, "artifact_dir", model)
    if not isinstance(path, str | Path):
        raise SettingsError(f"model must be an ADS GenericModel or an artifact folder, not {type(model).__name__}.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise SettingsError(f"The artifact folder {folder} does not exist: run Cell 8 first.")
    missing = [name for name in (*NEEDED, MANIFEST) if not (folder / name).is_file()]
    if missing:
        raise SettingsError(
            f"{folder} is not an artifact of this project, it lacks {', '.join(missing)}: its answers would not name "
            "their version, and a promotion could not be verified. Build it with manager.build_artifact() (Cell 8), "
            "from recommendations of your own after manager.take_recommendations('recommendations.csv'), and with "
            f"artifact_dir another folder than this one. {COMING} has each line of the old notebook."
        )
    return folder


def import_artifact(context: ReleaseContext, folder: Path, results_dir: Path, counts: dict[str, int]) -> int:
    """Store an imported artifact and the other inputs of the next steps for the run; return its ``top_k``.

    Nothing is stored if the folder has the artifact that the release itself has built.

    Args:
        context: of the run.
        folder: the artifact.
        results_dir: the operator's results, used if it has ``recommendations.csv``.
        counts: ``users`` and ``items``, for the catalog's metadata.

    Raises:
        SettingsError: the artifact is of another project or version.
        IntegrityError: a file of it was changed.
    """
    release = context.confirm_lock()
    with workspace() as scratch:
        facts = _copy_artifact(folder, scratch / "artifact", release.version, context.project)
        digest = sha256_of(scratch / "artifact" / MANIFEST)
        known = release.get(ArtifactBuilt)
        if known is not None and known.digest == digest:
            return int(facts["top_k"])
        _require_free_number(context, release.version, digest)
        trained = release.get(ModelTrained)
        if trained is None or trained.is_imported:
            _store_inputs(context, scratch, results_dir, top_k=facts["top_k"], counts=counts)
        bundle = store_bundle(context.store, context.prefix("artifact"), scratch / "artifact")
    context.record(ArtifactBuilt(prefix=bundle.prefix, digest=bundle.digest, version=release.version))
    return int(facts["top_k"])


def compare_counts(release: Release, counts: dict[str, int]) -> None:
    """Warn if a cell's numbers of users and items differ from those of the training."""
    metrics = release.require(ModelTrained).metrics
    for name, given in counts.items():
        if metrics.get(name) not in {None, given}:
            log.warning("Trained on %s %s, not on %s: registering the former", metrics[name], name, given)


def _copy_artifact(folder: Path, target: Path, version: int, project: str) -> dict[str, Any]:
    """Copy this project's files of an artifact folder and return the facts of its manifest.

    ADS's ``prepare`` writes another ``runtime.yaml``, which is kept and listed in the manifest again, and other files,
    which are not copied.
    """
    facts: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if (facts.get("format"), facts.get("project")) != (FORMAT, project):
        raise SettingsError(f"{folder / MANIFEST} names the project {facts.get('project')!r}, not {project!r}.")
    if facts["version"] != version:
        raise SettingsError(
            f"{folder} has v{facts['version']}, but this release makes v{version}: build it again with "
            "manager.build_artifact() (Cell 8)."
        )
    if not is_shipped((folder / "score.py").read_bytes()):
        raise SettingsError(
            f"{folder / 'score.py'} is not this project's. If ADS's prepare() wrote it, pass score_py_uri to "
            "prepare(), or build the artifact again (Cell 8)."
        )
    target.mkdir()
    for name in filter(lambda name: (folder / name).is_file(), FILES):
        shutil.copyfile(folder / name, target / name)
    files: dict[str, str] = facts.pop("files")
    unknown = sorted(set(files) - set(FILES))
    if unknown:
        raise IntegrityError(f"{folder} has files that no artifact of this project has: {', '.join(unknown)}.")
    changed = [name for name, sha256 in files.items() if sha256_of(target / name) != sha256]
    if set(changed) - {"runtime.yaml"}:
        raise IntegrityError(f"{folder} does not match its manifest: {', '.join(changed)}. Build it again (Cell 8).")
    if changed:
        log.warning("The runtime.yaml of %s was changed since it was built: using the changed one", folder)
    write_manifest(target, facts)
    return facts


def _require_free_number(context: ReleaseContext, version: int, digest: str) -> None:
    registered = context.state.versions.get(version)
    if registered and registered.digest != digest:
        raise SettingsError(
            f"v{version} is registered with other content, and a registered version never changes. Build this one with "
            "manager.build_artifact() (Cell 8), which gives it the next number."
        )


def _store_inputs(
    context: ReleaseContext, scratch: Path, results_dir: Path, *, top_k: int, counts: dict[str, int]
) -> None:
    """Store and record extract and results of an imported artifact, as far as they are known."""
    source = context.settings.source
    artifact, extract, results = scratch / "artifact", scratch / "extract", scratch / "results"
    items = list(dict.fromkeys([*read_products(artifact), *(item for item, _ in read_fallback(artifact))]))
    with open_rankings(artifact) as rankings:
        digest = store_assumed_extract(context, extract, rankings, items, top_k)
    results.mkdir()
    if (results_dir / RECOMMENDATIONS).is_file():
        for name in filter(lambda name: (results_dir / name).is_file(), RESULTS):  # no other files
            shutil.copyfile(results_dir / name, results / name)
    else:
        _write_lists(artifact, results / RECOMMENDATIONS, source)
    inputs = {"extract": digest, "top_k": top_k, "seed": context.release.retrain_params.seed}
    inputs[ModelTrained.IMPORTED] = True
    write_manifest(results, {"inputs": inputs, "metrics": counts})
    stored = store_bundle(context.store, context.prefix("results"), results)
    context.record(ModelTrained(prefix=stored.prefix, digest=stored.digest, inputs=inputs, metrics=counts))


def _write_lists(artifact: Path, file: Path, source: SourceSettings) -> None:
    """Write the lists of an artifact in the operator's format: a row for each recommendation."""
    with file.open("w", encoding="utf-8", newline="") as stream, open_rankings(artifact) as rankings:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([source.user_column, source.item_column, source.rating_column])
        for user, ranking in rankings:
            writer.writerows((user, item, rating) for item, rating in ranking)
