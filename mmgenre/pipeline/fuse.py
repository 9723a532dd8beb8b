"""Vectors -> fusion heads, one for each row and seed, and their scores of all test items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmgenre.disk.provenance import Provenance
from mmgenre.frozen.zero_shot import PROMPTS
from mmgenre.fusion.whole import SPACE, crossfit_parent, encoder_parent
from mmgenre.items.modalities import JOINT
from mmgenre.learning.processes import from_main
from mmgenre.pipeline.align import joint_of, joint_store
from mmgenre.pipeline.artefact import Artefact
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.rows import free_fusion
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.scores import Heads, RowInputs, ViewOf, fusion_stored
from mmgenre.progress import Progress

FUSION_VERSION = 9  # rises when the code of the step changes what it writes


def plan_fusion(
    run: Run,
    recipe: Recipe,
    name: str,
    rows: Sequence[RowInputs],
    vectors: Mapping[str, Artefact],
    *,
    joined: Sequence[str] = (),
    crossfits: Mapping[str, Artefact] | None = None,
    seeds: int = 1,
    by_encoder: bool = False,
) -> Artefact:
    """The scores of a fusion and the model of its whole, with all that they are made from.

    Args:
        run: the run.
        recipe: of the fusion.
        name: of the fusion or of an experiment's row; in a run, what differs from another fusion of
            that name is added to it.
        rows: the last one is the whole.
        vectors: input -> the artefact that holds its vectors.
        joined: the inputs that the joint space is of.
        crossfits: input -> the artefact that holds its cross-fitted outputs.
        seeds: how many heads each row has; solved ones need one.
        by_encoder: whether the encoder's own scores are taken instead of a head's.
    """
    places = {n: (a.path, n) for n, a in vectors.items()}
    used = {n.removeprefix(JOINT) for row in rows for n in row.inputs} | set(joined)
    parents = {n: a for n, a in vectors.items() if n in used}
    learned = {n: p for n, a in parents.items() for p in a.parents if p.stage == "learn"}
    parents |= {encoder_parent(n): p for n, p in learned.items()}
    joint: Path | None = None
    if joined:
        parents[SPACE] = joint_of(run, recipe, {n: vectors[n] for n in joined}, places)
        joint = parents[SPACE].path
        places = places | {f"{JOINT}{n}": (joint_store(joint), n) for n in joined}
    view = rows[-1].inputs[0]
    encoder = (view.partition(".")[0], learned[view].path) if by_encoder else None
    crossfits = {n: a for n, a in (crossfits or {}).items() if n in used}
    parents |= {crossfit_parent(n): a for n, a in crossfits.items()}
    views = {
        n: ViewOf(a.path, not a.trains, crossfits[n].path if n in crossfits else None)
        for n, a in learned.items()
    }
    heads = Heads(tuple(rows), seeds, places, joint, encoder, views)
    parameters: dict[str, Any] = {
        "rows": [
            [*row.inputs, *([row.combine] if row.combine else [])] for row in rows if not row.words
        ],
        "task": recipe.labels.task,
        "labels": run.manifest.task_digest,
        **run.genres_of(recipe),
    }
    if words := [row.inputs[0] for row in rows if row.words]:
        parameters["words"] = {"of": words, "prompts": dict(PROMPTS)}
    if by_encoder:
        parameters["scores"] = "encoder"
    else:
        parameters |= {
            "fusion": recipe.fusion.used(),
            "target": recipe.fusion_target.used(),
            "seed": recipe.seed,
            "seeds": seeds,
        }
    fingerprints = {n: a.fingerprint for n, a in parents.items()}
    provenance = Provenance("fusion", FUSION_VERSION, parameters, fingerprints)
    if run.pool is None:
        name = from_main(lambda: free_fusion(run, name, parameters))
        folder = run.fusions / name
    else:
        folder = run.place("fusion", "row", provenance.fingerprint)

    def make(progress: Progress) -> None:
        from mmgenre.pipeline.heads import make_fusion  # torch: seconds that a no-op saves

        make_fusion(run, recipe, folder, heads, provenance, progress)

    return Artefact(
        "fuse", name, folder, provenance, tuple(parents.values()),
        lambda: fusion_stored(folder), make, trains=not by_encoder,
    )  # fmt: skip
