"""Hidden states of a network -> one vector an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgenre.errors import WeightsError
from mmgenre.frozen.models import Floats
from mmgenre.frozen.settings import Layer, Pool


def layers_of(states: Sequence[Tensor], layer: Layer | None, where: str) -> list[Tensor]:
    """The hidden states (n, places, width) that a setting names; one, but for "weighted".

    Raises:
        WeightsError: a layer that the model does not have.
    """
    if layer == "weighted":
        return list(states)
    if layer == "mean":
        return [torch.stack(list(states)).mean(dim=0)]
    if layer == "stages":
        raise WeightsError(f'{where}: layer "stages": it has one resolution; give a number')
    number = len(states) - 1 if layer in (None, "last") else int(layer)
    if not 0 <= number < len(states):
        raise WeightsError(f"{where}: layer {layer}: it has 0 to {len(states) - 1}")
    return [states[number]]


def pooled(states: Sequence[Tensor], pool: Pool, n_special: int = 0) -> Tensor:
    """(n, places, width) each -> (n, width), or (n, layers, width) of several.

    The first `n_special` places are no patches; with "cls" the first of them is the vector.
    """
    found = []
    for state in states:
        if pool == "cls":
            found.append(state[:, 0])
            continue
        own = state[:, n_special:]
        mean = own.mean(dim=1)
        found.append(mean if pool == "mean" else torch.cat([mean, own.std(dim=1)], dim=1))
    return found[0] if len(found) == 1 else torch.stack(found, dim=1)


def projected(found: Any) -> Tensor:
    """What a model of two kinds of media gives for one of them, (n, width), as rows of length 1."""
    rows = getattr(found, "pooler_output", found)  # a tensor before transformers 5
    return torch.nn.functional.normalize(rows.float(), dim=-1)


def as_rows(x: Tensor) -> Floats:
    """A tensor of a device as an array."""
    return np.asarray(x.float().cpu(), np.float32)
