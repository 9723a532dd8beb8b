"""The layer that brings every encoder to the same width."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

# "native": the width that the network itself ends with.
EmbeddingDim = Annotated[int, Field(ge=1)] | Literal["native"]


def to_embedding(width: int, embedding_dim: EmbeddingDim) -> tuple[nn.Module, int]:
    """(layer, width after it): a dense ReLU layer where the widths differ, else nothing."""
    if embedding_dim == "native" or embedding_dim == width:
        return nn.Identity(), width
    return nn.Sequential(nn.Linear(width, embedding_dim), nn.ReLU()), embedding_dim
