"""The code that a worker may run: every ``score.py`` that this project has shipped, known by its sha256.

An artifact is data from the Model Catalog or a bucket, and anyone who may write there may put any ``score.py`` into it.
A worker has secrets. So it loads an artifact only if its ``score.py`` is one of these and it has only files that this
project writes. Every other artifact is compared by its bytes and tried on a test deployment.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from recdeploy_ops.artifacts.artifact import DATABASE, FALLBACK
from recdeploy_ops.domain.errors import ForeignCodeError
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.storage.bundles import MANIFEST, files_below

if TYPE_CHECKING:
    from pathlib import Path

SCORE = "score.py"
SCORE_BYTES = 1 << 20  # ours has about a hundredth of that
FILES = frozenset({SCORE, "runtime.yaml", "README.md", DATABASE, FALLBACK, MANIFEST})  # of an artifact of this project
# Of include/score_template/score.py, oldest first. A released one stays here forever: a rollback may need it.
SHIPPED = (
    "2c7162dc20525c8b28c009a1c89aae9ff2a209fd6a286f6b91161213f5ab9cc5",
    "a50466e812eddea4aeeb54d90acd0ab347bbffe0301792ca47c498eb88cf28a0",
    "25bfdeecdfaab2e25b6b0b2d69f333bc19e8251680f473e008313914fca9f579",
)


def is_shipped(source: bytes) -> bool:
    """Return whether a ``score.py`` is one that this project has shipped."""
    return hashlib.sha256(source).hexdigest() in SHIPPED


def holds_foreign_code(folder: Path) -> bool:
    """Return whether an artifact has a foreign ``score.py``, none, or files that this project does not write.

    A server imports ``score.py`` in the usual way: a compiled file beside it would run instead.
    """
    if not (folder / SCORE).is_file() or not is_shipped(_read_score(folder)):
        return True
    return not files_below(folder).keys() <= FILES


def read_shipped_score(folder: Path) -> bytes:
    """Return the source of an artifact's ``score.py``, which a worker may run.

    Raises:
        ForeignCodeError: this project has not shipped it.
    """
    source = _read_score(folder)
    if not is_shipped(source):
        raise ForeignCodeError(
            f"{folder / SCORE} is not a score.py that this project has shipped (its sha256 is "
            f"{hashlib.sha256(source).hexdigest()}): a worker does not run it.",
            Remedy("If it is your own template, add that sha256 to SHIPPED in artifacts/templates.py"),
        )
    return source


def _read_score(folder: Path) -> bytes:
    """Return the first `SCORE_BYTES` of an artifact's ``score.py``."""
    with (folder / SCORE).open("rb") as stream:
        return stream.read(SCORE_BYTES)
