"""One of n shares of a run's media, read by a job of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmgenre.datasets.layouts import By
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.pipeline.alone import alone_in_run, prepared
from mmgenre.pipeline.as_settings import SettingsLike, as_settings
from mmgenre.pipeline.music import FolderChoice
from mmgenre.pipeline.read import check_limit, media_of
from mmgenre.pipeline.run import DEFAULT_RUN, check_address, check_files
from mmgenre.pipeline.vectors import present_modalities
from mmgenre.progress import Progress, silent
from mmgenre.reading.extraction import Shard, check_sources, extract_shard


@dataclass(frozen=True)
class ShardResult:
    """What is there after a shard: of each modality (parts read, of all shards; all parts)."""

    run: Path
    shard: Shard
    parts: Mapping[Modality, tuple[int, int]]

    @property
    def is_all_there(self) -> bool:
        """Whether no shard has anything left to read."""
        return all(done == total for done, total in self.parts.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "run": str(self.run),
            "shard": str(self.shard),
            "parts": {m: {"done": done, "of": total} for m, (done, total) in self.parts.items()},
        }


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
    """Reads one of n shares of a run's media; `extract_features` then finds them read.

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
    return ShardResult(state.folder, shard, parts)
