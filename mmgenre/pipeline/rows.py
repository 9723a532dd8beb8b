"""The rows of a fusion: which inputs each reads, how they are named, and how the fusion is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from mmgenre.errors import MmgenreError, RecipeError
from mmgenre.items.modalities import JOINT, MODALITIES, short_name
from mmgenre.measuring.results import CONCATENATED, ZERO_SHOT
from mmgenre.pipeline.recipe import Recipe, merge, parse_setting, validate
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.scores import RowInputs, fusion_about


def table_rows(
    run: Run, recipe: Recipe, names: Sequence[str], inputs: Sequence[str] | None = None
) -> list[RowInputs]:
    """The row asked for, else every subset of the names and every view of those with several.

    Before these one for each frozen model that can compare with the names of genres.

    Raises:
        RecipeError: an input that nothing here gives.
    """
    joined = recipe.joint.modalities or tuple(names)
    views = [f"{m}.{v.label}" for m in names if len(run.views(m)) > 1 for v in run.views(m)]
    if inputs is not None:
        known = (*names, *views, *(f"{JOINT}{name}" for name in joined))
        unknown = [name for name in inputs if name not in known]
        if unknown or not inputs:
            raise RecipeError(
                f"inputs {', '.join(unknown) or 'of none'}: known here are {', '.join(known)}"
            )
        rows = [tuple(dict.fromkeys(inputs))]
    else:
        subsets = [s for k in range(1, len(names) + 1) for s in combinations(names, k)]
        plain, beside = recipe.fusion.joint != "alone", recipe.fusion.joint != "none"
        rows = [
            (*(subset if plain else ()), *(f"{JOINT}{n}" for n in subset if beside and n in joined))
            for subset in sorted([*subsets, *((view,) for view in views)], key=len)
        ]
    found = [RowInputs(row_name(row), stores_of(run, row)) for row in rows if row]
    if recipe.fusion.combine == "auto":  # the published way always stands beside what was chosen
        several = [stores for row, stores in zip(rows, found, strict=True) if len(row) > 1]
        joins = [RowInputs(f"{r.name}{CONCATENATED}", r.inputs, "concatenation") for r in several]
        found = [*joins, *found]
    if inputs is None:
        found = [*_of_words(run, names), *found]
    # The last row is the whole. A modality of one row may have several views.
    return sorted(found, key=lambda row: len(row.inputs))


def _of_words(run: Run, names: Sequence[str]) -> list[RowInputs]:
    """Rows of the frozen models that know words, and whose vectors are kept as they are."""
    from mmgenre.frozen.zero_shot import knows_words

    found = []
    for modality in names:
        views = run.views(modality)
        for view in views:
            if view.given and knows_words(view.encoder):
                name = f"{modality}.{view.label}" if len(views) > 1 else modality
                reads: Any = view.reads
                title = f"{row_name([name])}{ZERO_SHOT}"
                found.append(RowInputs(title, (view.name,), words=reads.frozen))
    return found


def stores_of(run: Run, names: Sequence[str]) -> tuple[str, ...]:
    """Inputs as a recipe names them -> the names of their vectors: a modality is all its views."""
    found: list[str] = []
    for name in names:
        prefix, plain = JOINT * name.startswith(JOINT), name.removeprefix(JOINT)
        modality, _, label = plain.partition(".")
        views = run.views(modality) if modality in MODALITIES else ()
        own = [prefix + v.name for v in views if label in ("", v.label)]
        if views and not own:
            labels = ", ".join(view.label for view in views)
            raise RecipeError(f"input {name}: the encoders of {modality} are {labels}")
        found += own or [name]
    return tuple(found)


def joined_names(
    run: Run, recipe: Recipe, names: Sequence[str], rows: Sequence[RowInputs]
) -> tuple[str, ...]:
    """What the joint space is of; () where no row reads it."""
    reads = any(name.startswith(JOINT) for row in rows for name in row.inputs)
    return stores_of(run, recipe.joint.modalities or tuple(names)) if reads else ()


def row_name(inputs: Sequence[str]) -> str:
    """`A+T` for audio and text, `joint.A` for a joint vector; given vectors by their own name.

    >>> row_name(["audio", "joint.audio", "text.linear", "clap"])
    'A+joint.A+T.linear+clap'
    """
    return "+".join(_short(name, upper=True) for name in inputs)


def _short(name: str, *, upper: bool = False) -> str:
    """`joint.a` of joint.audio, `t.linear` of text.linear, or with upper letters."""
    prefix, plain = JOINT * name.startswith(JOINT), name.removeprefix(JOINT)
    modality, dot, label = plain.partition(".")
    short = short_name(modality)
    return f"{prefix}{short.upper() if upper and modality in MODALITIES else short}{dot}{label}"


def fusion_name(
    recipe: Recipe,
    names: Sequence[str],
    inputs: Sequence[str] | None = None,
    joined: Sequence[str] = (),
    settings: Sequence[str] = (),
) -> str:
    """`multi-logistic-a+t+i`: task, head, modalities, joint vectors, settings of this fusion."""
    named = ("fusion.head", "fusion.joint", "labels.task")  # the name says them anyway
    own = sorted(s for s in settings if s.partition("=")[0].strip() not in named)
    end = "".join(f"-{setting.partition('.')[2].replace('/', '_')}" for setting in own)
    letters = "+".join(map(_short, names if inputs is None else inputs))
    if inputs is not None:
        space = f"-of-{'+'.join(map(_short, joined))}" if joined else ""
        letters = f"only-{letters}{space}"
    else:
        end = {"none": "", "beside": "-with-joint", "alone": "-joint"}[recipe.fusion.joint] + end
    return f"{recipe.labels.task}-{recipe.fusion.head}-{letters}{end}"


def free_fusion(run: Run, base: str, parameters: Mapping[str, Any]) -> str:
    """A name that no other fusion has: what differs from the one named `base` is added to it.

    A fusion of other labels or splits, which the run no longer has, is no other fusion.
    """
    wanted = _flat(parameters)
    name = base
    for k in range(2, 100):
        about = fusion_about(run.fusions / name)
        there = wanted if about is None else _flat(about["provenance"]["parameters"])
        differing = sorted(key for key in {*there, *wanted} if there.get(key) != wanted.get(key))
        if not set(differing) - {"labels", "genres", "words"}:
            return name
        words = "".join(f"-{key.rpartition('.')[2]}={wanted.get(key)}" for key in differing)
        name = f"{base}{words}"[:120] if k == 2 else f"{base}-{k}"
    raise MmgenreError(f"{run.fusions}: has a hundred fusions named {base}; remove some")


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        found |= _flat(value, f"{above}{key}.") if nested else {f"{above}{key}": value}
    return found


def fusion_recipe(
    recipe: Recipe,
    head: str | None,
    joint: bool | None,
    task: str | None,
    settings: Sequence[str],
) -> Recipe:
    """The run's recipe with changes that only fusion needs."""
    changes = merge({}, *map(parse_setting, settings))
    if elsewhere := sorted(set(changes) - {"labels", "target", "joint", "fusion"}):
        raise RecipeError(
            f"{', '.join(elsewhere)}: no setting of fusion; change it where it works: "
            "mmgenre extract-features --set ..."
        )
    own = changes.get("fusion", {})
    if own.get("solver", recipe.fusion.solver) == "lbfgs":
        unused = {"network", "dropout", "modality_dropout", "training"} & set(own)
        if unused:
            raise RecipeError(
                f"fusion.{', fusion.'.join(sorted(unused))}: is of heads that are trained (solver "
                "sgd), and these are solved; leave it out, or give fusion.solver=sgd and "
                "fusion.combine=concatenation"
            )
    named = {"labels": {"task": task}, "fusion": {"head": head}}
    named["fusion"]["joint"] = None if joint is None else "beside" if joint else "none"
    given = {s: {k: v for k, v in own.items() if v is not None} for s, own in named.items()}
    return validate(merge(recipe.model_dump(), changes, given), where="of this fusion")
