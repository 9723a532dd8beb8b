"""The first layer over tf-idf rows: as many weights as words x units, of which a text needs few."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from mmgenre.learning.dropout import Dropout


class WordLayer(nn.Module):
    """Dropout of words, and a linear layer: tf-idf rows (batch, n_words) -> (batch, width).

    Rows may be dense, or sparse and coalesced. Sparse ones, on one CPU, read and give gradients to
    the weights of the words that are there; the function is the same. Dropping a word that is not
    there changes nothing, so dropout of the words that are there is dropout of all.
    Devices without sparse tensors, as Apple's, get dense rows (`training.to_device`);
    this is untried, as none was at hand.

    `weight` is (n_words, width), a word's weights side by side: `nn.Linear` has it the other way.
    """

    def __init__(self, n_words: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        limit = 1 / math.sqrt(n_words)  # as nn.Linear begins
        self.weight = nn.Parameter(torch.empty(n_words, width).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-limit, limit))

    def forward(self, x: Tensor) -> Tensor:
        """Dense or sparse rows."""
        if not x.is_sparse:
            return self._dense(x)
        shared = distributed.is_available() and distributed.is_initialized()
        if x.device.type != "cpu" or shared:
            # Devices have the bandwidth, and gradients of some rows cannot be averaged everywhere.
            return self._dense(x.to_dense())
        values = self.dropout(x.values())
        here = values != 0
        texts, words = x.indices()[:, here]
        used, column = words.unique(return_inverse=True)
        rows = values.new_zeros(len(x), len(used))
        rows[texts, column] = values[here]
        weight = functional.embedding(used, self.weight, sparse=True)  # (n_used, width)
        result: Tensor = rows @ weight + self.bias
        return result

    def _dense(self, x: Tensor) -> Tensor:
        return functional.linear(self.dropout(x), self.weight.T, self.bias)


def sparse_tensor(rows: sp.csr_matrix) -> Tensor:
    """(n, n_words), coalesced."""
    rows.sort_indices()
    texts = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    places = torch.from_numpy(np.stack([texts, rows.indices.astype(np.int64)]))
    values = torch.from_numpy(rows.data)
    # Said outright, as torch warns where it has to guess; the check costs next to nothing.
    with torch.sparse.check_sparse_tensor_invariants(True):  # type: ignore[no-untyped-call]
        return torch.sparse_coo_tensor(places, values, rows.shape, is_coalesced=True)
