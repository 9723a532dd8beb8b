"""`--budget 3m`: a time for the training of encoders, turned into steps before it begins.

The steps are settings of the run like any other, so that they count in every fingerprint and a
second call with the same budget changes nothing, whatever the machine is doing then.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np

from mmgenre.disk.records import read_or_set_aside, write_record
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import RecipeError
from mmgenre.items.modalities import Modality
from mmgenre.kinds import kind_of
from mmgenre.learning.kind import resolve
from mmgenre.pipeline.recipe import Recipe, View, merge, setting_at, validate
from mmgenre.pipeline.run import Run, keep_recipe

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
TIMED_STEPS = 4  # the first one is not counted
BUDGET = "budget.json"  # in a run's folder
FOR_STEPS = 0.8  # of the time; the rest is for evaluations and files
LEAST_STEPS = 20


def seconds_of(text: str) -> float:
    """`90s`, `3m`, `1.5h` -> seconds.

    >>> seconds_of("3m")
    180.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if found is None or not float(found[1]):
        raise RecipeError(f"budget {text!r}: write a time such as 90s, 3m or 1.5h")
    return float(found[1]) * UNITS[found[2]]


def within_budget(run: Run, modalities: Sequence[Modality], budget: str) -> None:
    """Gives the run at most so many steps for each encoder that all of them take the time.

    Encoders that are trained share it equally, those of cross-fitting included. The inputs of all
    must have been read. The same budget for the same recipe is not timed a second time.
    """
    kept, now = run.folder / BUDGET, _hash(run.recipe)
    before = read_or_set_aside(kept, "a step is timed again")
    if (
        before is not None
        and before["budget"] == budget
        and now in (before["recipe"], before["hash"])
    ):
        again = validate(before["settled"], where=str(kept), names=run.names)
        keep_recipe(replace(run, recipe=again))
        return
    views = [view for modality in modalities for view in run.views(modality) if not view.fixed]
    fusion = run.recipe.fusion
    n_each = 1 + (fusion.cross_fit if fusion.solver == "lbfgs" else 0)
    values = run.recipe.model_dump()
    for view in views:
        share_s = FOR_STEPS * seconds_of(budget) / len(views) / n_each
        steps = max(LEAST_STEPS, int(share_s / seconds_of_a_step(run, view)))
        values = merge(values, setting_at(f"{view.modality}.training.max_steps", steps))
    recipe = validate(values, where=f"of {run.folder}")
    keep_recipe(replace(run, recipe=recipe))
    settled = {"settled": recipe.model_dump(mode="json"), "hash": _hash(recipe)}
    write_record(kept, {"budget": budget, "recipe": now, **settled})


def _hash(recipe: Recipe) -> str:
    return hashlib.sha256(recipe.model_dump_json().encode()).hexdigest()


def seconds_of_a_step(run: Run, view: View) -> float:
    """The median time of a training step on real rows, on the device that trains."""
    import torch

    from mmgenre.learning.devices import pick_device, put, to_device
    from mmgenre.learning.encoder import GenreNetwork, InputExamples, views_in
    from mmgenre.learning.optimisation import make_optimizer
    from mmgenre.learning.rows import item_of
    from mmgenre.learning.targets import make_target
    from mmgenre.learning.training import seeded

    recipe, section = run.recipe, run.recipe.of(view.modality)
    make = resolve(kind_of(view.modality).encoder(view.encoder).make)
    training = section.training
    target = make_target(recipe.target, len(run.labels()), exclusive=recipe.exclusive)
    target.fit(run.truth(run.manifest.ids("train")))
    ids = set(run.manifest.ids("train"))
    with FeatureStore(run.inputs(view.input_name), view.modality) as store:
        rows = [row for row in store.ids if item_of(row) in ids]
        batch = rows[: training.batch_size]
        if len(batch) < 2:
            return 1.0  # too few to train at all, which is told when training begins

        def build() -> GenreNetwork:
            return GenreNetwork(make(section, recipe.target.name, store, rows), target.dim)

        network = seeded(0, build).train()
        put(network, pick_device(), channels_last=training.channels_last)
        optimizer = make_optimizer(network, training)
        goals = target.targets(run.truth([item_of(row) for row in batch]))
        source = network.encoder.source(store)  # type: ignore[union-attr,operator]
        examples = InputExamples(source, batch, goals)
        times = []
        for number in range(TIMED_STEPS):
            started = perf_counter()
            drawn = examples.batch(np.arange(len(batch)), np.random.default_rng(number))
            moved = to_device(drawn, network)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(target.loss(network(views_in(moved, source)), moved["target"]))
            optimizer.step()
            times.append(perf_counter() - started)
    return float(np.median(times[1:]))
