"""One of n shares of a run's work, by a job of many: media are read, then items are embedded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mmgenre.datasets.layouts import By
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.pipeline.alone import alone_in_run, prepared
from mmgenre.pipeline.as_settings import SettingsLike, as_settings
from mmgenre.pipeline.embed import shard_of_embeddings
from mmgenre.pipeline.music import FolderChoice
from mmgenre.pipeline.read import check_limit, media_of
from mmgenre.pipeline.run import DEFAULT_RUN, Run, check_address, check_files
from mmgenre.pipeline.vectors import present_modalities, vectors_of
from mmgenre.progress import Progress, silent
from mmgenre.reading.extraction import Shard, check_sources, extract_shard


@dataclass(frozen=True)
class ShardResult:
    """What is there after a shard: (parts that are there, of all shards; all parts).

    `parts` are of the media of each modality, `embedded` of the vectors of each encoder that is
    there: {} before encoders have learned.
    """

    run: Path
    shard: Shard
    parts: Mapping[Modality, tuple[int, int]]
    embedded: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def is_all_there(self) -> bool:
        """Whether no shard has anything left to do."""
        every = [*self.parts.values(), *self.embedded.values()]
        return all(done == total for done, total in every)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "run": str(self.run),
            "shard": str(self.shard),
            "parts": _told(self.parts),
            "embedded": _told(self.embedded),
        }


def _told(parts: Mapping[Any, tuple[int, int]]) -> dict[str, dict[str, int]]:
    return {name: {"done": done, "of": total} for name, (done, total) in parts.items()}


@partial(alone_in_run, shared=True)
def read_shard(
    shard: Shard,
    manifest: Path | str | None = None,
    *,
    media_roots: Sequence[Path] = (),
    run: Path | str = DEFAULT_RUN,
    modalities: Sequence[Modality] = tuple(MODALITIES),
    recipe: str | None = None,
    settings: SettingsLike = (),
    workers: int | None = None,
    item_limit_s: float | None = None,
    accept_missing: bool = False,
    check_content: bool = False,
    by: By | None = None,
    genre_map: Path | None = None,
    min_items: int | None = None,
    sample: int | None = None,
    progress: Progress = silent,
) -> ShardResult:
    """Does one of n shares of the work; `extract_features` then finds it done.

    Media are read. Once `extract_features` has merged them and encoders have learned (with `embed`
    False it does no more), the items are embedded. Of embedding, all arguments but `run` and
    `modalities` are the run's own.

    Each job of an array gets the same arguments and another shard; the run's folder must be one
    that all of them see. Any of them may be run again. Other commands in the run wait for all
    shards that are being read, and shards for these. Arguments as in `extract_features`.

    Raises:
        MmgenreError: something that concerns the whole run, or the shard is being read elsewhere.
    """
    check_limit(item_limit_s)
    how: dict[str, Any] = {
        "media_roots": media_roots,
        "recipe": recipe,
        "settings": as_settings(settings),
    }
    how["choice"] = FolderChoice(by, genre_map, min_items, sample)
    state = prepared(Path(run), manifest, one_by_one=True, **how, progress=progress)
    parts: dict[str, tuple[int, int]] = {}
    for modality in present_modalities(state, [m for m in modalities if m not in state.given]):
        stores = {view.input_name: view for view in state.recipe.views(modality)}
        for view in stores.values():
            store = state.inputs(view.input_name)
            check_files(state, modality)
            check_address(state, modality)
            if not accept_missing:
                check_sources(state.manifest, modality, store)
            media = media_of(state, view, looking=True, check_content=check_content)
            how = {"media": media, "workers": workers, "progress": progress}
            how["limit_s"] = item_limit_s
            done, n = extract_shard(state.manifest, modality, view.reads, store, shard, **how)
            before = parts.get(modality, (0, 0))
            parts[modality] = before[0] + done, before[1] + n
    return ShardResult(state.folder, shard, parts, _embedded(state, shard, parts, progress))


def _embedded(
    state: Run, shard: Shard, read: Mapping[Modality, tuple[int, int]], progress: Progress
) -> dict[str, tuple[int, int]]:
    """Embeds a share of the items by each encoder that is there."""
    found = {}
    for modality, (done, total) in read.items():
        if done == total:  # else their store is not there, or another one
            for view in state.recipe.views(modality):
                # Not looking again: media are as this shard has just found them.
                vectors = vectors_of(state, modality, looking=False)[view.name]
                own = shard_of_embeddings(state, view, vectors, shard, progress)
                if own is not None:
                    found[view.name] = own
    return found
