"""The steps of a run as they lie in its folder: what each took, and what was trained in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmgenre.disk.bundle import bundle_file, bundle_provenance
from mmgenre.disk.files import finished_folders
from mmgenre.disk.store import provenance_of
from mmgenre.fusion.whole import SPACE, crossfit_parent
from mmgenre.items.modalities import MODALITIES
from mmgenre.measuring.results import StepResult
from mmgenre.pipeline.artefact import Stage
from mmgenre.pipeline.crossfit import crossfit_name, crossfit_store
from mmgenre.pipeline.learn import without_fold
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.scores import fusion_about
from mmgenre.pipeline.times import seconds_by_fingerprint

Found = tuple[Stage, str, Mapping[str, Any] | None, int | None]  # what, its provenance, parameters


def steps_of(run: Run, fusions: Sequence[Path] = ()) -> list[StepResult]:
    """What was read, learned and embedded for a run, and aligned and fused for some of its fusions.

    Each fingerprint once, in the order of the steps. What is not there is left out.
    """
    took = seconds_by_fingerprint(run.folder)
    steps: dict[str, StepResult] = {}
    for stage, what, provenance, n_parameters in _found(run, fusions):
        if provenance is not None:
            fingerprint = str(provenance["fingerprint"])
            steps.setdefault(
                fingerprint,
                {
                    "stage": stage,
                    "what": what,
                    "seconds": took.get(fingerprint),
                    "n_parameters": n_parameters,
                    "made_by": str(provenance["made_by"]),
                    "fingerprint": fingerprint,
                },
            )
    return list(steps.values())


def _found(run: Run, fusions: Sequence[Path]) -> Iterator[Found]:
    views = [view for modality in MODALITIES for view in run.views(modality)]
    abouts = {folder: about for folder in fusions if (about := fusion_about(folder)) is not None}
    parents = {name: set[str]() for name in (SPACE, *(crossfit_parent(v.name) for v in views))}
    for about in abouts.values():
        for name, fingerprint in about["provenance"]["parents"].items():
            parents.setdefault(name, set()).add(fingerprint)

    for view in views:
        path = run.inputs(view.input_name)
        yield "read", view.input_name, provenance_of(path, view.modality), None
    crossfits = {}
    for view in views:
        yield _encoder(view.name, run.encoder(view.name))
        own = provenance_of(crossfit_store(run), view.name)
        if own is not None and own["fingerprint"] in parents[crossfit_parent(view.name)]:
            crossfits[view.name] = own
            for k in range(sum(name.startswith("encoder.") for name in own["parents"])):
                yield _encoder(name := without_fold(view.name, k), run.encoder(name))
    for view in views:
        yield "embed", view.name, provenance_of(run.embeddings(view.name), view.name), None
        yield "embed", crossfit_name(view.name), crossfits.get(view.name), None
    for folder in finished_folders(run.folder / "joint"):
        own = bundle_provenance(folder)
        if own is not None and own["fingerprint"] in parents[SPACE]:
            yield "align", folder.name, own, _trained(folder)
    for folder, about in abouts.items():
        yield "fuse", folder.name, about["provenance"], about.get("n_parameters")


def _encoder(name: str, folder: Path) -> Found:
    provenance = bundle_provenance(folder)
    return "learn", name, provenance, None if provenance is None else _trained(folder)


def _trained(folder: Path) -> int | None:
    """How many parameters of a model folder were trained; None: none, or an older version's."""
    n_parameters: int | None = bundle_file(folder, "curve.json").get("n_parameters")
    return n_parameters
