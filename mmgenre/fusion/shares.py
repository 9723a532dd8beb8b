"""What each modality adds to the score of a genre: exact Shapley values (Shapley 1953).

The players are modalities; the views of one are one player. A coalition's worth is the score of an
item that has these modalities and no others, which the fusion gives as for any item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import MmgenreError
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.modalities import modality_of

MOST_PLAYERS = 6  # of which all subsets are judged
Floats = NDArray[np.float64]
Players = frozenset[str]


@dataclass(frozen=True)
class Shares:
    """Scores (n, n_labels) apart: `base` and the shares of all players add up to the score."""

    base: Floats  # of an item of which nothing is known
    of: Mapping[str, Floats]  # by player; 0 for items that lack it
    alone: Mapping[str, Floats]  # the scores of an item that has this player only


def shapley(scores: Callable[[FeatureTable], Floats], table: FeatureTable) -> Shares:
    """The shares of every modality of the items of a table, for every genre.

    Raises:
        MmgenreError: more than `MOST_PLAYERS` modalities.
    """
    players = list(players_of(table.x))
    if len(players) > MOST_PLAYERS:
        raise MmgenreError(
            f"{len(players)} modalities ({', '.join(players)}): shares are exact for up to "
            f"{MOST_PLAYERS}; fuse fewer"
        )
    worth: dict[Players, Floats] = {}
    for k in range(len(players) + 1):
        for chosen in combinations(players, k):
            worth[frozenset(chosen)] = scores(having(table, frozenset(chosen)))
    n = len(players)
    of = {}
    for player in players:
        of[player] = np.zeros_like(worth[frozenset()])
        for others in [own for own in worth if player not in own]:
            weight = factorial(len(others)) * factorial(n - len(others) - 1) / factorial(n)
            of[player] += weight * (worth[others | {player}] - worth[others])
    alone = {player: worth[frozenset([player])] for player in players}
    return Shares(worth[frozenset()], of, alone)


def players_of(inputs: Iterable[str]) -> dict[str, list[str]]:
    """Modality -> its inputs."""
    found: dict[str, list[str]] = {}
    for name in inputs:
        found.setdefault(modality_of(name), []).append(name)
    return found


def having(table: FeatureTable, players: Players) -> FeatureTable:
    """The items with no other modalities than these."""
    present = {
        name: here if modality_of(name) in players else np.zeros_like(here)
        for name, here in table.present.items()
    }
    return table.keeping(present)
