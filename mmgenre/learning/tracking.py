"""Learning curves for TensorBoard, written while something trains.

A training hands its epochs to the progress that it is given. `Tracked` is a progress that writes
them: `loss/train`, `loss/validation` and each metric, by the number of the epoch. A training that
goes on after it was killed, or begins anew, first writes the epochs that it has kept, and has
readers forget what earlier files say, so that each point is there once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep, time

from mmgenre.errors import MmgenreError
from mmgenre.learning.processes import is_main
from mmgenre.measuring.curves import Epoch
from mmgenre.progress import Progress, silent, tell

EVENTS = "events.out.tfevents."  # begins the name of a file; the second when it was made is next
LONGEST_WAIT_S = 2.0  # a clock that was set back is not waited for
TENSORBOARD = "tensorboard"  # in the folder of a run, or of the artefacts that experiments share


def check_tracking() -> None:
    """MmgenreError if curves cannot be written here, before any work begins."""
    try:
        import torch.utils.tensorboard  # noqa: F401  # torch: seconds that only those pay who track
    except ImportError as error:
        raise MmgenreError(
            f"--track: learning curves are written by tensorboard, which is not here ({error}); "
            "install it with pip install 'mmgenre[track]', or leave --track out"
        ) from None


@dataclass(frozen=True)
class Tracked:
    """A progress of trainings whose curves are written into `folder`."""

    shown: Progress
    folder: Path

    def __call__(self, task: str, done: int, total: int) -> None:
        self.shown(task, done, total)

    def detail(self, task: str, words: str) -> None:
        tell(self.shown, task, words)


def tracked(progress: Progress, folder: Path, name: str) -> Tracked:
    """A progress that also writes curves, into a folder of that name, made fit for a path."""
    return Tracked(progress, folder / re.sub(r"[^\w.+-]+", "_", name))


def unseen(progress: Progress, name: str) -> Progress:
    """A progress for one of many trainings, which tells nobody; its curve is still written."""
    return tracked(silent, progress.folder, name) if isinstance(progress, Tracked) else silent


@contextmanager
def curve_of(progress: Progress, so_far: Sequence[Epoch]) -> Iterator[Callable[[Epoch], None]]:
    """What a training calls after each epoch; `so_far`: those of before it was interrupted."""
    if not (isinstance(progress, Tracked) and is_main()):
        yield lambda _: None
        return
    from torch.utils.tensorboard import SummaryWriter

    _wait_for_a_later_name(progress.folder)
    # Whoever reads forgets all of before, as no step is before 1. The files stay: a server that has
    # one of them open, and finds it gone, would not look for the next.
    with SummaryWriter(progress.folder, purge_step=1) as writer:

        def add(epoch: Epoch) -> None:
            values = {"loss/train": epoch["train_loss"], "loss/validation": epoch["val_loss"]}
            values |= {f"metric/{name}": v for name, v in epoch.get("metrics", {}).items()}
            for name, value in values.items():
                writer.add_scalar(name, value, epoch["epoch"])
            writer.flush()

        for epoch in so_far:
            add(epoch)
        yield add


def _wait_for_a_later_name(folder: Path) -> None:
    """Readers take files in the order of their names, so that no two may be of one second."""
    seconds = [
        path.name.removeprefix(EVENTS).partition(".")[0] for path in folder.glob(f"{EVENTS}*")
    ]
    newest = max((int(second) for second in seconds if second.isdigit()), default=0)
    until = monotonic() + LONGEST_WAIT_S
    while time() < newest + 1 and monotonic() < until:
        sleep(0.05)
