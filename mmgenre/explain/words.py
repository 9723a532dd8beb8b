"""Which words tell a genre: information gain over training texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import entr

from mmgenre.explain.results import TopWord

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def information_gain(words: csr_array, labels: Bools) -> Floats:
    """What the presence of a word tells about each label, in bits, (n_words, n_labels).

    IG(w, l) = H(l) - P(w) H(l | w) - P(not w) H(l | not w), H being the entropy of a yes or no.
    `words`, (n, n_words), and `labels`, (n, n_labels): which text has which. Raises ValueError if
    they are not bool, have no text, or another number of texts each.
    """
    n, together = len(labels), _together(words, labels)
    with_label, with_word = labels.sum(axis=0), words.sum(axis=0)[:, None]
    share = with_word / n  # (n_words, 1)
    without_word = (1 - share) * _entropy(with_label - together, n - with_word)
    gain = _entropy(with_label, n) - share * _entropy(together, with_word) - without_word
    return np.asarray(np.maximum(gain, 0.0))  # rounding leaves -1e-17


def speaks_for(words: csr_array, labels: Bools) -> Bools:
    """Whether a label is likelier with a word than without, (n_words, n_labels)."""
    expected = np.outer(words.sum(axis=0), labels.sum(axis=0)) / len(labels)
    return np.asarray(_together(words, labels) > expected)


def chance_gain(
    words: csr_array, labels: Bools, rng: np.random.Generator, *, n_shuffles: int = 20
) -> Floats:
    """The gain that the best word has by chance, (n_labels,).

    The 95 % quantile, over shuffles of the labels, of the highest gain of any word: the more words
    there are, the more of them seem to tell something.
    """
    shuffles = (labels[rng.permutation(len(labels))] for _ in range(n_shuffles))
    best = [information_gain(words, shuffled).max(axis=0, initial=0.0) for shuffled in shuffles]
    return np.asarray(np.quantile(best, 0.95, axis=0))


def top_words(
    gain: Floats, is_for: Bools, counts: NDArray[np.integer], names: Sequence[str], n: int
) -> list[TopWord]:
    """The `n` words with the highest gain about one label, best first, ties by name.

    Of every word, (n_words,): bits, whether it speaks for the label, and the number of training
    texts that have it. Words with no gain are left out.
    """
    words = zip(names, gain.tolist(), is_for.tolist(), counts.tolist(), strict=True)
    best = sorted((word for word in words if word[1] > 0), key=lambda word: (-word[1], word[0]))
    return [TopWord(word=w, bits=b, speaks_for=f, n_texts=k) for w, b, f, k in best[:n]]


def _together(words: csr_array, labels: Bools) -> Floats:
    """Number of texts that have both a word and a label, (n_words, n_labels)."""
    if words.dtype != bool or labels.dtype != bool:
        raise ValueError(f"words {words.dtype} and labels {labels.dtype}: both must be bool")
    if words.ndim != 2 or labels.ndim != 2 or words.shape[0] != len(labels) or not len(labels):
        raise ValueError(
            f"words {words.shape} and labels {labels.shape}: must be (n, n_words) and "
            "(n, n_labels) of the same n > 0 texts"
        )
    return np.asarray(words.T @ labels.astype(np.float64))


def _entropy(count: NDArray[np.number], total: NDArray[np.number] | int) -> Floats:
    """H of `count` yes among `total`, in bits; 0 where `total` is 0."""
    p = np.asarray(count / np.maximum(total, 1), np.float64)
    return np.asarray((entr(p) + entr(1 - p)) / np.log(2))
