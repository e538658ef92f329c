"""The report of a release in a notebook: its reasons and its path as text, and the page where it can be shown."""

from __future__ import annotations

import html
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recdeploy_ops.approvals.pages import find_page_key
from recdeploy_ops.deployment_manager.backup_lists import LOCAL
from recdeploy_ops.domain.errors import CellOrderError
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.evaluation.pages import clean
from recdeploy_ops.evaluation.stored_reports import require_report
from recdeploy_ops.storage.documents import read_object

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import Release

log = logging.getLogger(__name__)

HEIGHT = 720  # pixels of the page in a notebook, which scrolls within them


@dataclass(frozen=True)
class ShownReport:
    """The report of a release; Jupyter shows its page, anything else its text.

    Attributes:
        verdict: PASS, HOLD or FAIL.
        headline: the verdict in words.
        reasons: of each gate that does not say PASS.
        path: where the page is stored: a file, or a URI.
    """

    verdict: Verdict
    headline: str
    reasons: tuple[str, ...]
    path: str
    _page: str = field(repr=False)

    def __str__(self) -> str:
        lines = (f"{self.verdict}: {self.headline}", *(f"- {reason}" for reason in self.reasons))
        return "\n".join([*lines, f"Report: {self.path}"])

    def _repr_html_(self) -> str:
        """Return the page as Jupyter embeds it: in a frame that runs no script and cannot reach the notebook."""
        return (
            f'<iframe sandbox srcdoc="{html.escape(self._page)}" title="Report of the release" '
            f'style="width:100%;height:{HEIGHT}px;border:1px solid #8888;border-radius:6px"></iframe>'
            f"<div>{html.escape(self.path)}</div>"
        )


def read_shown_report(context: ReleaseContext, release: Release | None) -> ShownReport:
    """Return the newest report of a release.

    Raises:
        CellOrderError: nothing was judged yet that has a report.
        KeyNotFoundError: the report was deleted.
        IntegrityError: it is not a report.
    """
    key = find_page_key(release) if release else None
    if key is None:
        raise CellOrderError("No report exists yet: Cell 11 writes it, or an earlier cell whose gate says FAIL.")
    report = require_report(read_object(context.store, f"{key.removesuffix('.html')}.json"), key)
    return ShownReport(
        verdict=Verdict(report["verdict"]),
        headline=str(report.get("headline", "")),
        reasons=tuple(
            f"{finding['verdict']} {finding['gate']}: {clean(finding['message'])}"
            for finding in report["findings"]
            if finding["verdict"] != Verdict.PASS
        ),
        path=f"{context.store.uri}/{key}".removeprefix(LOCAL),
        _page=context.store.read(key).decode(),
    )


def log_report(report: ShownReport) -> None:
    """Log the verdict with its reasons first, then where the report is."""
    for line in str(report).splitlines():
        log.log(logging.INFO if report.verdict is Verdict.PASS else logging.WARNING, "%s", line)
