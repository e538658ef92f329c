"""What the ledger's entries add up to: each kind of entry changes the book in its own way."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import IntegrityError
from recdeploy_ops.domain.ledger import RETRAIN, Book, Entry, Facts, Kind, Release, Serving, Version
from recdeploy_ops.domain.stages import Stage, advance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# A step that is recorded anew makes what was built on its earlier outcome void: the facts of every later
# kind of the same release are dropped from the book (never from the ledger).
BUILT_ON_EACH_OTHER = (
    Kind.DATA_EXTRACTED,
    Kind.DATA_CHECKED,
    Kind.MODEL_TRAINED,
    Kind.ARTIFACT_BUILT,
    Kind.CANDIDATE_CHECKED,
    Kind.MODEL_REGISTERED,
    Kind.TEST_DEPLOYED,
    Kind.TEST_VALIDATED,
    Kind.APPROVAL_REQUESTED,
    Kind.APPROVAL_ANSWERED,
    Kind.PROMOTION_STARTED,
    Kind.PROMOTION_FAILED,
    Kind.RESTORE_STARTED,
    Kind.CHAMPION_RESTORED,
    Kind.PRODUCTION_LOST,
    Kind.PROMOTED,
    Kind.ROLLED_BACK,
    Kind.RESIZE_STARTED,
    Kind.RESIZED,
    Kind.RELEASE_REJECTED,
)

# What a release that is opened again must do again: everything after the person's answer, but never a second time
# what has changed production.
VOID_WHEN_REOPENED = frozenset(BUILT_ON_EACH_OTHER[BUILT_ON_EACH_OTHER.index(Kind.PROMOTION_STARTED) :]) - {
    Kind.PROMOTED,
    Kind.ROLLED_BACK,
} | {Kind.RELEASE_CLOSED}
SETTLING = frozenset(
    {Kind.PROMOTED, Kind.ROLLED_BACK, Kind.CHAMPION_RESTORED, Kind.PRODUCTION_LOST, Kind.RELEASE_CLOSED}
)


def fold(entries: Iterable[Entry], book: Book | None = None) -> Book:
    """Add entries up to a book.

    Args:
        entries: in order.
        book: what earlier entries add up to.

    Raises:
        IntegrityError: an entry is missing, out of order or was edited.
    """
    book = book or Book()
    for entry in entries:
        if entry.seq != book.seq + 1 or entry.previous != book.head:
            raise IntegrityError(
                f"The ledger is broken at entry {entry.seq}: it does not follow entry {book.seq} "
                f"({book.head[:12]}...). Run 'python -m recdeploy_ops verify' to see which entry was changed."
            )
        try:
            book = replace(_CHANGES[entry.kind](book, entry), seq=entry.seq, head=entry.sha256)
        except KeyError as err:
            raise IntegrityError(f"Ledger entry {entry.seq} speaks of {err}, unknown before it.") from err
    return book


def _open(book: Book, entry: Entry) -> Book:
    known = book.releases.get(entry.run_id)
    version = int(entry.facts["version"])
    release = Release(
        run_id=entry.run_id,
        purpose=entry.facts.get("purpose", RETRAIN),
        version=version,
        opened_at=known.opened_at if known else entry.at.isoformat(),
        last_opened_at=entry.at.isoformat(),
        is_open=True,
        outcome=None,
        params=entry.facts["params"],
        facts=known.facts if known else MappingProxyType({}),
        open_switch=known.open_switch if known else None,
    )
    book = _with_facts(book, release, entry)
    book = replace(book, holder=entry.run_id, highest_version=max(book.highest_version, version))
    made = book.versions.get(version)
    if release.purpose == RETRAIN and made and made.stage is Stage.REJECTED:
        book = _with_stage(book, version, Stage.CANDIDATE)
        validated = book.releases[entry.run_id].get(Kind.TEST_VALIDATED)
        if validated and validated["verdict"] != "FAIL":
            book = _with_stage(book, version, Stage.VALIDATED)
    return book


def _note(book: Book, entry: Entry) -> Book:
    return _with_facts(book, book.releases[entry.run_id], entry)


def _build(book: Book, entry: Entry) -> Book:
    version = int(entry.facts["version"])
    book = _note(book, entry)
    release = replace(book.releases[entry.run_id], version=version)
    return replace(_with_release(book, release), highest_version=max(book.highest_version, version))


def _register(book: Book, entry: Entry) -> Book:
    book = _note(book, entry)
    release = book.releases[entry.run_id]
    known = book.versions.get(release.version)
    version = Version(
        number=release.version,
        stage=known.stage if known else Stage.CANDIDATE,
        run_id=entry.run_id,
        digest=entry.facts["digest"],
        model_id=entry.facts["model_id"],
        artifact=entry.facts["artifact"],
        results=entry.facts["results"],
    )
    return replace(book, versions=MappingProxyType({**book.versions, version.number: version}))


def _validate(book: Book, entry: Entry) -> Book:
    book = _note(book, entry)
    version = book.releases[entry.run_id].version
    if entry.facts["verdict"] == "FAIL" or book.versions[version].stage is Stage.CHAMPION:
        return book
    return _with_stage(book, version, Stage.VALIDATED)


def _promote(book: Book, entry: Entry) -> Book:
    book = _note(book, entry)
    serving = Serving(
        deployment_id=entry.facts["deployment_id"],
        url=entry.facts["url"],
        model_id=entry.facts["model_id"],
        version=entry.facts["version"],
        digest=entry.facts["digest"],
        since=entry.at.isoformat(),
    )
    previous = book.production
    if previous and previous.version != serving.version:
        book = _with_stage(book, previous.version, Stage.RETIRED)
        book = replace(book, previous_champion=previous)
    return replace(_with_stage(book, serving.version, Stage.CHAMPION), production=serving)


def _start_switch(book: Book, entry: Entry) -> Book:
    book = _note(book, entry)
    return _with_release(book, replace(book.releases[entry.run_id], open_switch=entry.facts))


def _restore_champion(book: Book, entry: Entry) -> Book:
    book = _note(book, entry)
    if book.production is None:
        return book
    return replace(book, production=replace(book.production, model_id=entry.facts["model_id"]))


def _restore_model(book: Book, entry: Entry) -> Book:
    book = _note(book, entry)
    version = replace(book.versions[entry.facts["version"]], model_id=entry.facts["model_id"])
    return replace(book, versions=MappingProxyType({**book.versions, version.number: version}))


def _adopt(book: Book, entry: Entry) -> Book:
    """Take over what a person has compared with OCI: the only entry that says what is, not what was done."""
    facts = entry.facts
    versions = {
        number: Version(**{**stored, "stage": Stage(stored["stage"])})
        for number, stored in ((stored["number"], stored) for stored in facts["versions"])
    }
    return replace(
        book,
        versions=MappingProxyType(versions),
        highest_version=max(book.highest_version, facts["highest_version"]),
        production=Serving(**facts["production"]) if facts["production"] else None,
        previous_champion=Serving(**facts["previous_champion"]) if facts["previous_champion"] else None,
    )


def _reject(book: Book, entry: Entry) -> Book:
    book = _note(book, entry)
    version = book.versions.get(book.releases[entry.run_id].version)
    if version is None or version.stage in (Stage.CHAMPION, Stage.RETIRED):
        return book  # refusing again what once served leaves its stage as it is
    return _with_stage(book, version.number, Stage.REJECTED)


def _close(book: Book, entry: Entry) -> Book:
    book = _note(book, entry)
    release = replace(book.releases[entry.run_id], is_open=False, outcome=entry.facts["outcome"])
    holder = None if book.holder == entry.run_id else book.holder
    return replace(_with_release(book, release), holder=holder)


_CHANGES: Mapping[Kind, Callable[[Book, Entry], Book]] = {
    **dict.fromkeys(Kind, _note),
    Kind.RELEASE_OPENED: _open,
    Kind.ARTIFACT_BUILT: _build,
    Kind.MODEL_REGISTERED: _register,
    Kind.TEST_VALIDATED: _validate,
    Kind.PROMOTION_STARTED: _start_switch,
    Kind.CHAMPION_RESTORED: _restore_champion,
    Kind.PROMOTED: _promote,
    Kind.ROLLED_BACK: _promote,
    Kind.MODEL_RESTORED: _restore_model,
    Kind.ADOPTED: _adopt,
    Kind.RELEASE_REJECTED: _reject,
    Kind.RELEASE_CLOSED: _close,
}


def _merged(release: Release, entry: Entry) -> Mapping[Kind, Facts]:
    void: frozenset[Kind] = VOID_WHEN_REOPENED if entry.kind is Kind.RELEASE_OPENED else frozenset()
    if entry.kind in BUILT_ON_EACH_OTHER:
        void = frozenset(BUILT_ON_EACH_OTHER[BUILT_ON_EACH_OTHER.index(entry.kind) + 1 :])
    kept = {kind: facts for kind, facts in release.facts.items() if kind not in void}
    return MappingProxyType({**kept, entry.kind: entry.facts})


def _with_facts(book: Book, release: Release, entry: Entry) -> Book:
    open_switch = None if entry.kind in SETTLING else release.open_switch
    return _with_release(book, replace(release, facts=_merged(release, entry), open_switch=open_switch))


def _with_release(book: Book, release: Release) -> Book:
    return replace(book, releases=MappingProxyType({**book.releases, release.run_id: release}))


def _with_stage(book: Book, number: int, stage: Stage) -> Book:
    version = book.versions[number]
    if version.stage is stage:
        return book
    version = replace(version, stage=advance(version.stage, stage))
    return replace(book, versions=MappingProxyType({**book.versions, number: version}))
