"""The strict base of all settings: an unknown key, or a value of another type, stops the run."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from mmgenre.errors import RecipeError


class Settings(BaseModel):
    """Settings of one section; each section stands just above the code that uses it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=Settings)


def checked(section: type[S], values: Mapping[str, Any], where: str, *above: str) -> S:
    """The settings of a recipe's section; `above` are the keys that lead to it.

    Raises:
        RecipeError: lists every unknown key with the nearest known ones, and every wrong value.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_url=False):
            path = ".".join(map(str, (*above, *fault["loc"])))
            if fault["type"] != "extra_forbidden":
                faults.append(f"{path}: {fault['msg']}, got {fault.get('input')!r:.400}")
                continue
            holder: Any = section
            for key in fault["loc"][:-1]:  # an int: of a tuple of sections
                fields = isinstance(key, str) and holder.model_fields
                holder = fields[key].annotation if fields else get_args(holder)[0]
            known = list(holder.model_fields)
            close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
            faults.append(f"unknown key {path!r}; {hint}")
        raise RecipeError(f"recipe {where}: {'; '.join(faults)}") from None
