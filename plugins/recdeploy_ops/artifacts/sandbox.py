"""An artifact's score.py in a clean Python process. No other code loads an artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recdeploy_ops.artifacts.artifact import DATABASE
from recdeploy_ops.artifacts.clean_process import Job, Limits, call_in_clean_process
from recdeploy_ops.artifacts.templates import SCORE, read_shipped_score
from recdeploy_ops.domain.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


# The child's address space, without the database that it maps: a tiny fallback can request any amount of memory.
MEMORY_BYTES = 1 << 30
ANSWER_BYTES = 1 << 20  # on average; a list of 1,000 products has about a tenth of that


def load_in_clean_process(folder: Path, requests: Sequence[object], *, timeout_seconds: float = 300) -> list[Any]:
    """Return the answers of the artifact's ``score.py``, run in a confined Python process of its own.

    Only a ``score.py`` that this project has shipped is run.

    Args:
        folder: the artifact.
        requests: JSON values.
        timeout_seconds: for loading and answering all of them.

    Raises:
        ForeignCodeError: this project has not shipped that ``score.py``.
        IntegrityError: it does not load, or does not answer in time; with the child's traceback.
    """
    source, database = read_shipped_score(folder).decode(), folder / DATABASE
    job = Job(
        what=f"score.py in {folder}",
        failed="does not work",
        source=source,
        path=folder / SCORE,
        calls=[("predict", [request]) for request in requests],
    )
    limits = Limits(
        memory=MEMORY_BYTES + (database.stat().st_size if database.is_file() else 0),
        output=ANSWER_BYTES * (len(requests) + 1),
        seconds=timeout_seconds,
    )
    answers = call_in_clean_process(job, limits)
    if len(answers) != len(requests):
        raise IntegrityError(f"score.py in {folder} gave {len(answers)} answers to {len(requests)} requests.")
    return answers
