"""Scores -> probabilities that mean what they say, by few numbers that validation items decide.

n items, L labels. What a way gains is judged by validation items left out, artist by artist, and a
way with more numbers must gain more than chance would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmgenre.fusion.platt import fit_line
from mmgenre.measuring.calibration import losses

Way = Literal["as they are", "temperature", "by label", "isotonic"]
Link = Literal["softmax", "sigmoid", "cosine", "cosine softmax"]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
LEAST_ITEMS = 30  # below, scores stay as they are
LEAST_POINTS = 1000  # judgements, below which steps are not fitted
EDGE = 1e-7  # probabilities that are nearer to 0 and 1 are taken as this near
KNOTS = 64


@dataclass(frozen=True)
class Calibration:
    """Scores (n, L) -> probabilities (n, L).

    `link`: what scores are: of exclusive genres, of overlapping ones, or cosines of either. They
    become z = log p, log(p / (1 - p)) or the cosine; probabilities are softmax or sigmoid of
    slope * z + bias. "isotonic": `knots` say which probability a z has, between them it is linear.
    """

    way: Way
    link: Link
    slope: Floats = field(default_factory=lambda: np.ones(1))  # (1,) or (L,)
    bias: Floats = field(default_factory=lambda: np.zeros(1))  # (1,) or (L,)
    knots: Floats = field(default_factory=lambda: np.zeros((2, 0)))  # (2, k): z, probability

    def __call__(self, scores: NDArray[np.floating]) -> Floats:
        z = logits(scores, self.link)
        if self.way == "isotonic":
            p = np.interp(z, *self.knots)
            # Of exclusive genres one is so; ties keep their order.
            p = p + EDGE * np.exp(np.minimum(z, 0.0))
            return np.asarray(
                p / p.sum(axis=1, keepdims=True) if self.exclusive else np.minimum(p, 1.0)
            )
        return probabilities(self.slope * z + self.bias, exclusive=self.exclusive)

    @property
    def exclusive(self) -> bool:
        return self.link in ("softmax", "cosine softmax")

    def state(self) -> dict[str, Any]:
        """Plain data, from which `of_state` makes it again."""
        arrays = {n: getattr(self, n).tolist() for n in ("slope", "bias", "knots")}
        return {"way": self.way, "link": self.link, **arrays}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Calibration:
        arrays = {n: np.asarray(state[n], np.float64) for n in ("slope", "bias", "knots")}
        return cls(state["way"], state["link"], **arrays)


def logits(scores: NDArray[np.floating], link: Link) -> Floats:
    """What is calibrated, (n, L)."""
    wide = np.asarray(scores, np.float64)
    if link in ("cosine", "cosine softmax"):
        return wide
    p = np.clip(wide, EDGE, 1 - EDGE)
    return np.asarray(np.log(p) if link == "softmax" else np.log(p) - np.log1p(-p))


def probabilities(z: Floats, *, exclusive: bool) -> Floats:
    """Softmax or sigmoid of rows."""
    if not exclusive:
        return np.asarray(np.exp(-np.logaddexp(0, -z)))
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_calibration(
    scores: NDArray[np.floating], y: Bools, folds: NDArray[np.intp], link: Link
) -> tuple[Calibration, Floats]:
    """The way that is best for items left out, fitted on all; probabilities of items left out.

    Args:
        scores: (n, L), by heads that have not seen the items.
        y: (n, L), their labels.
        folds: (n,), items of an artist in one.
        link: what scores are.
    """
    ways = _ways(link, scores.size)
    if len(y) < LEAST_ITEMS or not y.any() or len(np.unique(folds)) < 2:
        fitted = _fitted(ways[0], scores, y, link) if y.any() else Calibration(ways[0], link)
        return fitted, fitted(scores)
    best, p = ways[0], _held_out(ways[0], scores, y, folds, link)
    loss = losses(y, p, exclusive=link.endswith("softmax"))
    for way in ways[1:]:
        other = _held_out(way, scores, y, folds, link)
        gain = loss - losses(y, other, exclusive=link.endswith("softmax"))
        if gain.mean() > gain.std() / np.sqrt(len(gain)):
            best, p, loss = way, other, loss - gain
    return _fitted(best, scores, y, link), p


def _ways(link: Link, n_judgements: int) -> list[Way]:
    """Ways from the plainest on."""
    ways: list[Way] = ["temperature", "by label"]
    if not link.startswith("cosine"):  # no probability
        ways.insert(0, "as they are")
    return [*ways, "isotonic"] if n_judgements >= LEAST_POINTS else ways


def _held_out(
    way: Way, scores: NDArray[np.floating], y: Bools, folds: NDArray[np.intp], link: Link
) -> Floats:
    """Probabilities of each item by a calibration that has not seen its fold, (n, L)."""
    p = np.zeros(scores.shape)
    for fold in np.unique(folds):
        out = folds == fold
        p[out] = _fitted(way, scores[~out], y[~out], link)(scores[out])
    return p


def _fitted(way: Way, scores: NDArray[np.floating], y: Bools, link: Link) -> Calibration:
    if way == "as they are":
        return Calibration(way, link)
    z = logits(scores, link)
    if way == "isotonic":
        return Calibration(way, link, knots=_steps(z, y))
    slope, bias = fit_line(z, y, exclusive=link.endswith("softmax"), by_label=way == "by label")
    return Calibration(way, link, slope, bias)


def _steps(z: Floats, y: Bools) -> Floats:
    """Where a non-decreasing function of all z has its steps, (2, k): isotonic regression."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(z.ravel(), y.ravel())
    x, p = fitted.X_thresholds_, fitted.y_thresholds_
    middles: dict[float, list[float]] = {}
    for place, height in zip(x, p, strict=True):
        middles.setdefault(float(height), []).append(float(place))
    heights = list(middles)
    places = [(min(own) + max(own)) / 2 for own in middles.values()]
    if len(places) > KNOTS:
        chosen = np.unique(np.linspace(0, len(places) - 1, KNOTS).round().astype(int))
        places, heights = [places[k] for k in chosen], [heights[k] for k in chosen]
    return np.array([places, heights])
