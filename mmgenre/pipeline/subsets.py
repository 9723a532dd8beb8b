"""The fusion that a run is asked for: heads for every subset of its modalities, as one artefact."""

from __future__ import annotations

from collections.abc import Sequence

from mmgenre.errors import MmgenreError, RecipeError
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.pipeline.artefact import Artefact
from mmgenre.pipeline.fuse import plan_fusion
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.rows import fusion_name, joined_names, table_rows
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.vectors import crossfits_of, given_to, vectors_of, with_vectors

SEEDS = 3  # heads trained for each row, unless they are solved


def fusion_of(
    run: Run,
    recipe: Recipe,
    modalities: Sequence[Modality] | None,
    *,
    inputs: Sequence[str] | None = None,
    seeds: int | None = None,
    settings: Sequence[str] = (),
) -> Artefact:
    """The fusion with all that it is made from; arguments as of `commands.fuse`.

    `recipe`: of the fusion; `settings`: by which it differs from the run's, for its name.
    """
    modalities = modalities or with_vectors(run)
    modalities = tuple(m for m in MODALITIES if m in modalities)
    learned = [m for m in modalities if m in run.given or run.manifest.count(having=[m])]
    names = (*learned, *(name for name in run.given if name not in MODALITIES))
    if not names:
        raise MmgenreError(f"{run.dataset}: no item has {' or '.join(modalities)}")
    vectors: dict[str, Artefact] = {}
    for name in names:
        given = name in run.given
        vectors |= {name: given_to(run, name)} if given else vectors_of(run, name, looking=False)
    rows = table_rows(run, recipe, names, inputs)
    joined = joined_names(run, recipe, names, rows)
    crossfits = {
        name: artefact
        for m in names
        if m not in run.given
        for name, artefact in crossfits_of(run, recipe, m).items()
    }
    is_solved = recipe.fusion.solver == "lbfgs"
    if is_solved and seeds not in (None, 1):
        raise RecipeError(
            f"seeds {seeds}: solved heads are the same from every seed; leave it out, or train "
            "heads with --set fusion.solver=sgd --set fusion.combine=concatenation"
        )
    return plan_fusion(
        run, recipe, fusion_name(recipe, names, inputs, joined, settings), rows, vectors,
        joined=joined, crossfits=crossfits, seeds=1 if is_solved else seeds or SEEDS,
    )  # fmt: skip
