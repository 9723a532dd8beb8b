"""Which words tell a genre: information gain over training texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmgenre.explain.description import TopWord

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

WORDS_AT_ONCE = 1024  # columns turned to float32 together: 25,000 texts then take 100 MB


def information_gain(words: Bools, labels: Bools) -> Floats:
    """What the presence of a word tells about each label, in bits, (n_words, n_labels).

    IG(w, l) = H(l) - P(w) H(l | w) - P(not w) H(l | not w), H being the entropy of a yes or no.

    Args:
        words: which text has which word, (n, n_words).
        labels: which text has which label, (n, n_labels).

    Raises:
        ValueError: not bool, no text, or another number of texts in each.
    """
    _check(words, labels)
    n, having = len(words), labels.sum(axis=0)[None, :]  # (1, n_labels)
    with_word = words.sum(axis=0)[:, None]  # (n_words, 1)
    both = _together(words, labels)
    given = _entropy(both, with_word)
    otherwise = _entropy(having - both, n - with_word)
    share = with_word / n
    gain = _entropy(having, np.array(n)) - share * given - (1 - share) * otherwise
    return np.asarray(np.maximum(gain, 0.0))  # rounding leaves -1e-17


def speaks_for(words: Bools, labels: Bools) -> Bools:
    """Whether a label is likelier with a word than without, (n_words, n_labels)."""
    _check(words, labels)
    expected = np.outer(words.sum(axis=0), labels.sum(axis=0)) / len(words)
    return _together(words, labels) > expected


def chance_gain(
    words: Bools, labels: Bools, rng: np.random.Generator, *, n_shuffles: int = 20
) -> Floats:
    """The gain that the best word has by chance, (n_labels,).

    The 95 % quantile, over shuffles of the labels, of the highest gain of any word: the more words,
    the more of them seem to tell something.
    """
    best = [information_gain(words, labels[rng.permutation(len(labels))]).max(axis=0, initial=0.0)
            for _ in range(n_shuffles)]  # fmt: skip
    return np.asarray(np.quantile(best, 0.95, axis=0))


def top_words(
    gain: Floats, is_for: Bools, counts: NDArray[np.integer], names: Sequence[str], n: int
) -> list[TopWord]:
    """The `n` words of the highest gain about one label, best first, ties by name.

    Args:
        gain: bits of every word, (n_words,).
        is_for: which way each points, (n_words,).
        counts: training texts that have each, (n_words,).
        names: the words.
        n: how many; words that tell nothing are left out.
    """
    order = sorted(np.flatnonzero(gain > 0).tolist(), key=lambda w: (-gain[w], names[w]))[:n]
    return [
        {
            "word": names[w],
            "bits": float(gain[w]),
            "speaks_for": bool(is_for[w]),
            "n_texts": int(counts[w]),
        }
        for w in order
    ]


def _together(words: Bools, labels: Bools) -> Floats:
    """Texts that have both a word and a label, (n_words, n_labels)."""
    y = labels.astype(np.float32)
    starts = range(0, words.shape[1], WORDS_AT_ONCE)
    blocks = [words[:, s : s + WORDS_AT_ONCE].astype(np.float32).T @ y for s in starts]
    return np.concatenate([np.zeros((0, y.shape[1])), *blocks])  # exact below 2^24 texts


def _entropy(count: NDArray[np.number], total: NDArray[np.number]) -> Floats:
    """H of `count` yes among `total`, in bits; 0 log 0 = 0, and nobody asked is no doubt."""
    p = count / np.maximum(total, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [-q * np.log2(q) for q in (p, 1 - p)]
    return np.asarray(np.where((p > 0) & (p < 1), terms[0] + terms[1], 0.0))


def _check(words: Bools, labels: Bools) -> None:
    if words.dtype != bool or labels.dtype != bool:
        raise ValueError(f"words {words.dtype} and labels {labels.dtype}: both must be bool")
    if words.ndim != 2 or labels.ndim != 2 or len(words) != len(labels) or not len(words):
        raise ValueError(
            f"words {words.shape} and labels {labels.shape}: must be (n, n_words) and "
            "(n, n_labels) of the same n > 0 texts"
        )
