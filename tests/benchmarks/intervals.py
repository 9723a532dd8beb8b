"""Do 95 % intervals hold the truth in 95 % of cases, and do tests err in 5 % where nothing differs?

    python tests/benchmarks/intervals.py [N]

N (2000) test sets are drawn from two made-up worlds, of one genre an item (8 genres) and of many
(10), in which artists have genres, and scores, of their own. The truth is the figure of 12 000
artists. Coverage and mean width of intervals, beside those of the percentile bootstrap over
artists (of a twentieth of the sets; 1000 draws). Then seven models are compared with each other, of
equal quality: in how many sets is any of 21 differences called one, after Holm. And two models
that differ by 3 points: in how many sets is it seen.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmgenre.measuring import jackknife as jk
from mmgenre.measuring import metrics

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
MODELS, ARTISTS, HUGE = 7, (10, 20, 50, 100, 200), 12_000
OWN = 0.7  # deviation of an artist's scores: half of it common to all models, half of each


class World(NamedTuple):
    exclusive: bool
    n_labels: int

    @property
    def name(self) -> str:
        return f"{'one' if self.exclusive else 'many'} of {self.n_labels}"


WORLDS = (World(True, 8), World(False, 10))


def draw(
    world: World, n_artists: int, rng: np.random.Generator, gains: tuple[float, ...]
) -> tuple[Bools, list[Floats], NDArray[np.intp]]:
    """Truth, scores of models that see genres better by `gains`, and the artist of each item."""
    n_labels = world.n_labels
    sizes = 1 + rng.poisson(2, n_artists)
    artist = np.repeat(np.arange(n_artists), sizes)
    n = len(artist)
    prior = np.arange(1, n_labels + 1) ** -0.8
    prior /= prior.sum()
    if world.exclusive:
        main = rng.choice(n_labels, n_artists, p=prior)
        genre = np.where(rng.random(n) < 0.8, main[artist], rng.choice(n_labels, n, p=prior))
        y = np.eye(n_labels, dtype=bool)[genre]
    else:
        share = np.clip(2 * prior, 0.01, 0.6)
        leaning = np.log(share / (1 - share)) - 0.6 + rng.normal(0, 1.5, (n_artists, n_labels))
        y = rng.random((n, n_labels)) < 1 / (1 + np.exp(-leaning[artist]))
    telling = np.linspace(0.8, 2.0, n_labels)
    common = rng.normal(0, OWN, (n_artists, n_labels))
    scores = [
        y * (telling + gain)
        + 0.7 * (common + rng.normal(0, OWN, (n_artists, n_labels)))[artist]
        + rng.standard_normal((n, n_labels))
        for gain in gains
    ]
    return y, scores, artist


def predicted(world: World, scores: Floats) -> Bools:
    return metrics.argmax_one_hot(scores) if world.exclusive else scores >= 1.2


Figure = Callable[[World, Bools, Floats, jk.Blocks], Floats]
FIGURES: dict[str, Figure] = {
    "macro ROC-AUC": lambda _, y, s, b: jk.macro(jk.roc_auc(y, s, b)),
    "macro PR-AUC": lambda _, y, s, b: jk.macro(jk.average_precision(y, s, b)),
    "macro F1": lambda w, y, s, b: jk.macro(jk.f1(y, predicted(w, s), b)),
    "micro ROC-AUC": lambda _, y, s, b: jk.micro_roc_auc(y, s, b),
}


def whole(name: str, world: World, y: Bools, scores: Floats) -> float:
    """The figure alone."""
    one = jk.Blocks(np.zeros(len(y), np.intp), np.ones(1, np.intp))
    return float(FIGURES[name](world, y, scores, one)[0])


def blocks(artist: NDArray[np.intp]) -> jk.Blocks:
    return jk.blocks_of([f"{a:06d}" for a in artist.tolist()])


def percentile(
    name: str, world: World, y: Bools, s: Floats, artist: NDArray[np.intp], seed: int
) -> tuple[float, float]:
    """The bootstrap over artists, with items taken as often as their artist was drawn."""
    rng, n = np.random.default_rng(seed), int(artist.max()) + 1
    rows = [np.flatnonzero(artist == a) for a in range(n)]
    drawn = []
    for _ in range(1000):
        own = np.concatenate([rows[a] for a in rng.integers(0, n, n)])
        drawn.append(whole(name, world, y[own], s[own]))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def coverage(world: World, n_sets: int) -> None:
    y, [s], _ = draw(world, HUGE, np.random.default_rng(99), (0.0,))
    truth = {name: whole(name, world, y, s) for name in FIGURES}
    for n_artists in ARTISTS:
        held: Counter[str] = Counter()
        widths: Counter[str] = Counter()
        by_draws: Counter[str] = Counter()
        of_draws: Counter[str] = Counter()
        n_drawn = max(1, n_sets // 20) if n_artists == 50 else 0
        for k in range(n_sets):
            y, [s], artist = draw(world, n_artists, np.random.default_rng((n_artists, k)), (0.0,))
            b = blocks(artist)
            for name, figure in FIGURES.items():
                found = jk.jackknife(figure(world, y, s, b), b)
                low, high = jk.interval(found, b.n_groups) or (0.0, 1.0)
                held[name] += low <= truth[name] <= high
                widths[name] += high - low  # type: ignore[assignment]
                if k < n_drawn and name != "micro ROC-AUC":
                    low, high = percentile(name, world, y, s, artist, k)
                    by_draws[name] += low <= truth[name] <= high
                    of_draws[name] += high - low  # type: ignore[assignment]
        for name in FIGURES:
            said = f"{world.name}, {n_artists} artists, {name}: {held[name] / n_sets:.3f} of "
            said += f"{n_sets} sets, width {widths[name] / n_sets:.3f}"
            if of_draws[name]:
                said += f"; bootstrap {by_draws[name] / n_drawn:.3f}, "
                said += f"width {of_draws[name] / n_drawn:.3f} (first {n_drawn} sets)"
            print(said, flush=True)


def errors(world: World, n_sets: int, name: str) -> None:
    for n_artists in ARTISTS[2:]:
        wrong = 0
        for k in range(n_sets):
            rng = np.random.default_rng((7, n_artists, k))
            y, scores, artist = draw(world, n_artists, rng, (0.0,) * MODELS)
            b = blocks(artist)
            rows = [FIGURES[name](world, y, s, b) for s in scores]
            p = [jk.p_value(jk.jackknife(a - c, b)) for a, c in combinations(rows, 2)]
            wrong += min(jk.holm(p)) < 0.05
        rate = wrong / n_sets
        upper = rate + 1.96 * np.sqrt(rate * (1 - rate) / n_sets)
        print(
            f"{world.name}, {n_artists} artists, {name}: any of 21 equal pairs told apart in "
            f"{rate:.3f} of {n_sets} sets (upper 95 % limit {upper:.3f})",
            flush=True,
        )


def power(world: World, n_sets: int, name: str) -> None:
    """`gain` is chosen so that the models differ by 3 points in the population."""
    low, high = 0.0, 2.0
    for _ in range(18):
        gain = (low + high) / 2
        y, [a, c], _ = draw(world, HUGE // 2, np.random.default_rng(98), (gain, 0.0))
        apart = whole(name, world, y, a) - whole(name, world, y, c)
        low, high = (gain, high) if apart < 0.03 else (low, gain)
    for n_artists in (*ARTISTS[2:], 500):
        seen = 0
        for k in range(n_sets // 4):
            rng = np.random.default_rng((8, n_artists, k))
            y, [a, c], artist = draw(world, n_artists, rng, (gain, 0.0))
            b = blocks(artist)
            figure = FIGURES[name]
            seen += (
                jk.p_value(jk.jackknife(figure(world, y, a, b) - figure(world, y, c, b), b)) < 0.05
            )
        print(
            f"{world.name}, {n_artists} artists, {name}: 3 points seen in "
            f"{seen / (n_sets // 4):.2f} of {n_sets // 4} sets",
            flush=True,
        )


def main() -> None:
    n_sets = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for world, name in zip(WORLDS, ("macro F1", "macro ROC-AUC"), strict=True):
        coverage(world, n_sets)
        errors(world, n_sets, name)
        power(world, n_sets, name)


if __name__ == "__main__":
    main()
