"""What a run makes, the one rule that says whether it is fresh, and the engine that makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Literal

from mmgenre.disk.bundle import bundle_fingerprint
from mmgenre.disk.files import set_damaged_aside
from mmgenre.disk.locks import locked, tidy
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import check_store, fingerprint_of
from mmgenre.errors import INTERRUPTS, BundleError, MmgenreError, StoreError
from mmgenre.learning.processes import check_all_failed, from_main, is_main
from mmgenre.learning.tracking import TENSORBOARD, tracked
from mmgenre.pipeline.times import note_time
from mmgenre.progress import Progress, silent

LOCKS = ".locks"  # folder of lock files, in that of a run or of the artefacts of experiments
Stage = Literal["read", "learn", "embed", "align", "fuse"]
# Ends an artefact and not the whole plan, if the plan may go on: our own errors, no memory, no
# disk, a training that a library cannot follow.
FAILURES = (MmgenreError, RuntimeError, ValueError, ArithmeticError, OSError, MemoryError)


@dataclass(frozen=True)
class Artefact:
    """A store, a model folder or a folder of scores, made from its parents by one stage."""

    stage: Stage
    name: str  # "audio", "audio+image", "CNN_AUDIO"
    path: Path
    provenance: Provenance  # known before the work
    parents: tuple[Artefact, ...]
    stored: Callable[[], str | None]  # fingerprint of what lies at `path` now; None: nothing
    make: Callable[[Progress], object]  # makes it beside `path`, swaps it in when it is whole
    trains: bool = False  # several processes make it together
    check: Callable[[], object] | None = None  # an error if something from outside is missing
    verify: Callable[[Progress], object] | None = None  # StoreError: not the rows that were written

    @property
    def fingerprint(self) -> str:
        """Equal exactly if stage, version, parameters and parents are equal."""
        return self.provenance.fingerprint

    def is_current(self) -> bool:
        """Whether what lies at `path` is this artefact. A damaged one is not.

        UnreachableError if it cannot be opened now, which says nothing about it.
        """
        try:
            return self.stored() == self.fingerprint
        except (StoreError, BundleError):
            return False


def in_store(path: Path, *groups: str) -> Callable[[], str | None]:
    """`Artefact.stored` of groups of a store, which have one fingerprint."""

    def stored() -> str | None:
        found = {fingerprint_of(path, group) for group in groups}
        return found.pop() if len(found) == 1 else None

    return stored


def rows_of(path: Path, *groups: str) -> Callable[[Progress], object]:
    """`Artefact.verify` of groups of a store."""
    return lambda progress: check_store(path, *groups, progress=progress)


def in_bundle(folder: Path) -> Callable[[], str | None]:
    """`Artefact.stored` of a model folder."""
    return lambda: bundle_fingerprint(folder)


def in_order(wanted: Iterable[Artefact]) -> Iterator[Artefact]:
    """The artefacts and all that they are made from, each once and after its parents.

    One encoder may be of two names in a table, alone in one row and beside others in another: two
    artefacts of the same fingerprint.
    """
    seen: set[tuple[str, Path]] = set()

    def visit(artefact: Artefact) -> Iterator[Artefact]:
        if (artefact.fingerprint, artefact.path) not in seen:
            seen.add((artefact.fingerprint, artefact.path))
            for parent in artefact.parents:
                yield from visit(parent)
            yield artefact

    for artefact in wanted:
        yield from visit(artefact)


@dataclass
class Outcome:
    """What became of a plan, by fingerprint: seconds of what was made, reasons of what failed."""

    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def carry_out(
    wanted: Iterable[Artefact],
    folder: Path,
    *,
    keep_going: bool = False,
    track: bool = False,
    progress: Progress = silent,
    tell: Callable[[str], object] | None = None,
) -> Outcome:
    """Makes the wanted artefacts and what they need, unless they are current.

    Of several processes, rank 0 decides and makes; all of them make what trains. `folder` holds the
    locks, and the log of what each artefact took. An artefact that a process of another plan makes
    is waited for, and `tell` called with a sentence before. `keep_going`: a failure ends only the
    artefacts that need the failed one, which otherwise raises its error. `track`: the learning
    curves of what trains are also written for TensorBoard, below `folder`.
    """
    artefacts = list(in_order(wanted))

    def begin() -> list[int]:
        for artefact in artefacts:
            tidy(artefact.path)
        todo = [k for k, artefact in enumerate(artefacts) if not artefact.is_current()]
        for k in todo:
            if (check := artefacts[k].check) is not None:
                check()  # what cannot be had shows before hours of work
        return todo

    todo = [artefacts[k] for k in from_main(begin)]
    outcome = Outcome()
    for number, artefact in enumerate(todo):
        if keep_going:
            progress("steps", number, len(todo))
        if broken := [f for a in artefact.parents if (f := outcome.failed.get(a.fingerprint))]:
            outcome.failed[artefact.fingerprint] = broken[0]
            continue
        started, shown = perf_counter(), progress
        if track:
            name = f"{artefact.stage}-{artefact.name}-{artefact.fingerprint[:8]}"
            shown = tracked(progress, folder / TENSORBOARD, name)
        try:
            is_new = _make(artefact, folder / LOCKS, shown, tell)
        except INTERRUPTS as stop:
            if artefact.stage not in ("read", "learn"):  # which know themselves what they keep
                stop.add_note(f"{artefact.stage} {artefact.name}: begins again")
            raise
        except FAILURES as error:
            if not keep_going:
                raise
            kind = "" if isinstance(error, MmgenreError) else f"{type(error).__name__}: "
            outcome.failed[artefact.fingerprint] = f"{kind}{error}"
            continue
        if is_new:
            seconds = outcome.seconds[artefact.fingerprint] = perf_counter() - started
            if is_main():
                note_time(
                    folder,
                    {
                        "fingerprint": artefact.fingerprint,
                        "stage": artefact.stage,
                        "what": artefact.name,
                        "seconds": seconds,
                    },
                )
    if keep_going:
        progress("steps", len(todo), len(todo))
    return outcome


def _make(
    artefact: Artefact, locks: Path, progress: Progress, tell: Callable[[str], object] | None
) -> bool:
    """Makes an artefact under its lock; False if another process did so meanwhile."""
    with ExitStack() as held:

        def waiting(who: str) -> None:
            if tell is not None:
                tell(f"{artefact.stage} {artefact.name}: waiting for {who}")

        def begin() -> bool:
            held.enter_context(locked(locks / f"{artefact.stage}-{artefact.path.name}", waiting))
            if artefact.is_current():
                return False
            try:
                artefact.stored()
            except (StoreError, BundleError):
                set_damaged_aside(artefact.path)
            for parent in artefact.parents:
                if parent.verify is not None:
                    parent.verify(progress)
            if not artefact.trains:
                artefact.make(progress)
            return True

        is_new = from_main(begin)
        if is_new and artefact.trains:
            try:
                artefact.make(progress)
            except Exception as error:
                check_all_failed(error)
                raise
    return is_new
