"""The model folder of a fusion is whole: it carries what its heads were fitted on.

    config.json, model.safetensors, ..., sha256.json    the heads
    encoders/VIEW/                                      their encoders
    joint/                                              their joint space

So a fusion predicts with its own encoders whatever becomes of those of its run. What it carries
are hard links, which take no room; where the file system has none, copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from mmgenre.disk.bundle import SUMS, bundle_fingerprint, link_bundle
from mmgenre.disk.files import finished_folders
from mmgenre.disk.records import read_record
from mmgenre.errors import BundleError
from mmgenre.items.modalities import JOINT, MODALITIES

MODEL = "model"  # the model folder in the folder of a fusion
ENCODERS, JOINT_SPACE = "encoders", "joint"
ENCODER, CROSSFIT = "encoder.", "crossfit."  # before a view, among the parents of a fusion
SPACE = "joint.space"  # the joint space among the parents of a fusion


def encoder_parent(view: str) -> str:
    """The name of an encoder among the parents of a fusion."""
    return f"{ENCODER}{view}"


def crossfit_parent(view: str) -> str:
    """The name of an encoder's cross-fitted outputs among the parents of a fusion."""
    return f"{CROSSFIT}{view}"


def is_vectors(parent: str) -> bool:
    """Whether a parent of a fusion is the vectors of an input, which has its name.

    >>> is_vectors("audio.statistics"), is_vectors(crossfit_parent("audio"))
    (True, False)
    """
    return not parent.startswith((ENCODER, CROSSFIT, JOINT))


def carry(
    model: Path, encoders: Mapping[str, Path], joint: Path | None, parents: Mapping[str, str]
) -> None:
    """Adds to the model folder of a fusion its encoders (view -> folder) and its joint space.

    `parents`: name -> fingerprint of what the heads were fitted on. BundleError if a folder holds
    something else.
    """
    carried = {encoder_parent(v): (path, model / ENCODERS / v) for v, path in encoders.items()}
    if joint is not None:
        carried[SPACE] = joint, model / JOINT_SPACE
    for parent, (source, target) in carried.items():
        link_bundle(source, target)
        if bundle_fingerprint(target) != parents[parent]:
            raise BundleError(f"{source}: was made anew meanwhile; run this again")


class Parts:
    """Where the encoders and the joint space of a fusion lie.

    In its model folder; those of a fusion of an earlier version, which carries nothing, in its run,
    as long as they are the same there. BundleError if a part is at neither place.
    """

    def __init__(
        self, model: Path, run: Path | None, name: str, parents: Mapping[str, Any]
    ) -> None:
        self.model, self.run, self.name, self.parents = model, run, name, parents

    def encoder(self, view: str) -> Path:
        """The folder of a view's encoder."""
        of_run = [] if self.run is None else [self.run / "encoders" / view]
        return self._found(encoder_parent(view), self.model / ENCODERS / view, of_run)

    def joint(self) -> Path:
        """The folder of the joint space."""
        of_run = [] if self.run is None else finished_folders(self.run / "joint")
        return self._found(SPACE, self.model / JOINT_SPACE, of_run)

    def _found(self, parent: str, carried: Path, of_run: list[Path]) -> Path:
        places = [carried] if carried.exists() or not of_run else of_run
        for place in places:
            if bundle_fingerprint(place) == self.parents.get(parent):
                return place
        where = places[0] if len(places) == 1 else places[0].parent
        again = "copy the whole folder again"
        if self.run is not None:
            again = f"make it again: mmgenre fuse --run {self.run}"
        raise BundleError(
            f"{where}: not the one that the fusion {self.name} was trained on, so its scores would "
            f"mean nothing; {again}"
        )


def model_of(folder: Path, fusion: str | None) -> tuple[Path, str]:
    """The model folder of a run's fusion, or the folder itself if it is one; the fusion's name."""
    if (folder / SUMS).is_file():
        if fusion is not None:
            raise BundleError(f"{folder}: is one model and no run; leave out the fusion {fusion!r}")
        return folder, folder.name
    names = [p.name for p in finished_folders(folder / "fusion") if (p / MODEL).is_dir()]
    if not names:
        raise BundleError(f"{folder}: no fusion head; train one: mmgenre fuse --run {folder}")
    chosen = fusion or _own_fusion(folder, names)
    if chosen not in names:
        raise BundleError(f"{folder}: no fusion {chosen!r}; has {', '.join(names)}")
    return folder / "fusion" / chosen / MODEL, chosen


def _own_fusion(folder: Path, names: Sequence[str]) -> str:
    """The fusion that a run's recipe asks for, of most modalities and nothing else."""
    if len(names) == 1:
        return names[0]
    state = folder / "run.json"
    if state.is_file():
        try:
            recipe = read_record(state)["recipe"]
            own = f"{recipe['labels']['task']}-{recipe['fusion']['head']}-"
        except (ValueError, LookupError, TypeError) as error:
            raise BundleError(
                f"{state}: damaged ({type(error).__name__}: {error}); name one of "
                f"{', '.join(names)} with --fusion"
            ) from None
        shorts = [m.short for m in MODALITIES.values()]
        for k in range(len(shorts), 0, -1):
            for letters in combinations(shorts, k):
                if (name := f"{own}{'+'.join(letters)}") in names:
                    return name
    raise BundleError(f"{folder}: has {', '.join(names)}; name one with --fusion")
