"""What a recipe names outside of mmgenre: encoders to import, files, the address of a service.

A recipe of the user's may name what it likes. One that a run states may come from anybody: nothing
of it is imported, opened or sent to, unless the user has named it on the command line, or when the
run was made.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from mmgenre.errors import RecipeError
from mmgenre.items.modalities import MODALITIES
from mmgenre.kinds import kind_of
from mmgenre.learning.kind import address_in, is_foreign

Named = Mapping[str, Collection[str]]  # setting -> what it names


def encoders_in(recipe: Any) -> Named:
    """The code that a recipe names."""
    sections = {m: recipe.of(m) for m in MODALITIES}
    return {f"{m}.encoders": tuple(filter(is_foreign, s.encoders)) for m, s in sections.items()}


def files_in(recipe: Any, modality: str) -> Named:
    """The files that a modality's section names."""
    files = kind_of(modality).files(recipe.of(modality))
    return {f"{modality}.{setting}": (file,) for setting, file in files.items()}


def addresses_in(recipe: Any, modality: str) -> Named:
    """The address of the service that a modality's texts are sent to."""
    address = address_in(recipe.of(modality).input)
    return {} if address is None else {f"{modality}.input.entities.url": (address,)}


def all_in(recipe: Any) -> frozenset[str]:
    """Everything that a recipe names."""
    found = [encoders_in(recipe)]
    found += [f for m in MODALITIES for f in (files_in(recipe, m), addresses_in(recipe, m))]
    return frozenset(name for named in found for names in named.values() for name in names)


def refuse_unnamed(recipe: Any, named: Named, names: Collection[str], where: str, act: str) -> None:
    """RecipeError unless everything in `named` is among `names`; `act`: what would be done."""
    unnamed = {s: [n for n in found if n not in names] for s, found in named.items()}
    unnamed = {setting: found for setting, found in unnamed.items() if found}
    if not unnamed:
        return
    shown = ", ".join(name for found in unnamed.values() for name in found)
    options = " ".join(f"--set {shlex.quote(_setting(recipe, key))}" for key in unnamed)
    folder = shlex.quote(where.removesuffix("/run.json"))
    raise RecipeError(
        f"{where}: {act} {shown}, which the run names and you did not. If you trust it: mmgenre "
        f"extract-features --run {folder} {options}"
    )


def _setting(recipe: Any, key: str) -> str:
    """`key=value`, as the command line takes it."""
    value = recipe
    for part in key.split("."):
        value = getattr(value, part)
    return f"{key}={value if isinstance(value, str) else json.dumps(list(value))}"


def texts_in(values: Mapping[str, Any]) -> Iterator[str]:
    """All texts in settings, at any depth."""
    left: list[Any] = [values]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            left += value.values()
        elif isinstance(value, Iterable):
            left += value
