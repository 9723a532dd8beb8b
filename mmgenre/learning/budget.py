"""How long a training may take, counted in optimiser steps: on 200 items and on 200 000."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from mmgenre.learning.settings import TrainingConfig

LEAST_ROUND = 25  # steps between two evaluations of a small set
LEAST_ROUNDS = 20  # evaluations of a large one, several of which may be in an epoch
Order = Callable[[np.random.Generator], NDArray[np.intp]]  # draws one of all rows for a pass
WARMUP = 0.05  # the share of the budget over which warmup-cosine raises the learning rate


@dataclass(frozen=True)
class Budget:
    """A training of `rounds` rounds; each ends with an evaluation.

    As published, a round is an epoch, and there are `max_epochs`.

    >>> small = Budget.of(TrainingConfig(max_epochs=10, min_steps=600, min_patience_steps=150), 250)
    >>> small.total, small.round, small.rounds, small.patience
    (600, 25, 24, 150)
    >>> large = Budget.of(TrainingConfig(max_epochs=10, min_steps=600), 192_000)
    >>> large.total, large.round, large.rounds, large.patience
    (60000, 3000, 20, 24000)
    """

    config: TrainingConfig
    n: int  # training examples
    epoch: int  # steps of one pass over the training examples
    total: int
    round: int  # steps of one
    patience: int | None  # steps without a better evaluation

    @classmethod
    def of(cls, config: TrainingConfig, n: int) -> Budget:
        """The budget for n training examples."""
        epoch = sum(1 for _ in batches_of(np.arange(n), config.batch_size))
        total, length = config.max_epochs * epoch, epoch
        most = config.max_steps or math.inf
        patience = None if config.patience is None else config.patience * epoch
        if config.min_steps is not None:
            total = max(total, config.min_steps)
            length = max(LEAST_ROUND, min(epoch, total // LEAST_ROUNDS))
            if patience is not None:
                patience = max(patience, config.min_patience_steps or 0)
            length = int(max(LEAST_ROUND, min(length, min(total, most) // LEAST_ROUNDS)))
        return cls(config, n, epoch, int(min(total, most)), length, patience)

    @property
    def rounds(self) -> int:
        return math.ceil(self.total / self.round)

    def steps(self, number: int) -> range:
        """The steps, counted from 0, of a round, counted from 1."""
        return range((number - 1) * self.round, min(number * self.round, self.total))

    def is_patient(self, done: int, best: int) -> bool:
        """Whether to go on after round `done` if round `best` is the best so far."""
        return self.patience is None or (done - best) * self.round < self.patience

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if self.config.schedule != "warmup-cosine":
            return self.config.rate_at(1 + step // self.epoch)
        warmup = max(1, round(WARMUP * self.total))
        if step < warmup:
            return self.config.learning_rate * (step + 1) / warmup
        share = (step - warmup) / (self.total - warmup)
        return self.config.learning_rate * (1 + math.cos(math.pi * share)) / 2

    def batches(
        self, number: int, seed: int, rng: np.random.Generator, order: Order | None = None
    ) -> Iterator[NDArray[np.intp]]:
        """The rows of each step of a round: an epoch, drawn by `rng`, or a stretch of passes.

        A pass may begin in one round and end in another: its order depends on its own number.
        `order` draws it; None: any order of all rows is as likely.
        """
        size = self.config.batch_size
        draw = order or (lambda own: own.permutation(self.n))
        if self.config.min_steps is None:
            yield from islice(batches_of(draw(rng), size), len(self.steps(number)))
            return
        pass_: list[NDArray[np.intp]] = []
        for step in self.steps(number):
            n_passes, k = divmod(step, self.epoch)
            if k == 0 or not pass_:
                drawn = draw(np.random.default_rng((seed, 0, 1 + n_passes)))
                pass_ = list(batches_of(drawn, size))
            yield pass_[k]


def batches_of(rows: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    """Batches of `size` rows; a single last row joins the batch before (batch norm needs two)."""
    starts = list(range(0, len(rows), size))
    if len(starts) > 1 and len(rows) - starts[-1] == 1:
        starts.pop()
    yield from np.split(rows, starts[1:])
