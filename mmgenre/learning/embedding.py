"""Rows of an input store through an encoder, on the CPU or a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mmgenre.learning.devices import Batch, put, tf32
from mmgenre.learning.encoder import Encoder
from mmgenre.learning.feed import ahead_for, feed, pinned
from mmgenre.learning.rows import Source
from mmgenre.learning.threads import map_by_threads
from mmgenre.progress import Progress, silent

ROWS_ON_CPU, ROWS_ON_GPU = 16, 64  # embedded at once


def embed(
    encoder: Encoder,
    source: Source,
    ids: Sequence[str],
    *,
    precision: str = "float32",
    batch_size: int | None = None,
    device: torch.device | None = None,
    ahead: int | None = None,
    task: str = "embedding",
    progress: Progress = silent,
) -> NDArray[np.float32]:
    """Embeddings of input rows, (n, embedding_dim): the mean over the evaluation views.

    The same numbers with any number of CPU threads. A torch module is moved to `device`, and stays
    there (None: where it is). A GPU gets more rows at once unless there is a `batch_size`, no TF32,
    so that its vectors are those of a CPU but for rounding, and batches that a thread prepares
    (`ahead` as in `fit`).
    """
    encoder.eval()
    if device is not None and isinstance(encoder, nn.Module):
        put(encoder, device)
    device = next(iter(encoder.state_dict().values())).device  # some have no parameter
    ahead = ahead_for(device) if ahead is None else ahead
    size = batch_size or (ROWS_ON_CPU if device.type == "cpu" else ROWS_ON_GPU)
    result = np.zeros((len(ids), encoder.embedding_dim), np.float32)

    def batches() -> Iterator[tuple[tuple[int, int], Batch]]:
        for start in range(0, len(ids), size):
            views = source.views(ids[start : start + size], None)
            x = torch.from_numpy(views.reshape(-1, *views.shape[2:]))
            yield views.shape[:2], pinned({"x": x}, device)

    @torch.inference_mode()
    def embedded(given: tuple[tuple[int, int], Batch]) -> NDArray[np.float32]:
        (n, k), batch = given
        x = batch["x"].to(device, non_blocking=device.type == "cuda")
        with torch.autocast(device.type, torch.bfloat16, precision == "bfloat16"):
            vectors = encoder(x).view(n, k, -1).mean(dim=1)
        return cast(NDArray[np.float32], vectors.float().cpu().numpy())

    start = 0
    with tf32("none", device), feed(batches(), device, ahead) as fed:
        by_threads = device.type == "cpu" and not ahead
        found = map_by_threads(embedded, fed) if by_threads else (embedded(own) for own in fed)
        with closing(found):
            for vectors in found:
                progress(task, start, len(ids))
                result[start : start + len(vectors)] = vectors
                start += len(vectors)
    progress(task, len(ids), len(ids))
    return result
