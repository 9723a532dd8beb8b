"""A share of the media of a run, for one job of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgenre.errors import MmgenreError
from mmgenre.items.manifest import MODALITIES, Modality
from mmgenre.pipeline.lineage import encoder_config
from mmgenre.pipeline.run import DEFAULT_RUN, prepare_run
from mmgenre.progress import Progress, silent
from mmgenre.reading.extraction import Shard, extract_shard


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


def read_shard(
    shard: Shard,
    manifest: Path | str | None = None,
    *,
    run: Path | str = DEFAULT_RUN,
    modalities: Sequence[Modality] = MODALITIES,
    recipe: str | None = None,
    settings: Sequence[str] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> ShardResult:
    """Reads one of n shares of a run's media; `extract_features` then finds them read.

    Each job of an array gets the same arguments and another shard; the run's folder must be one
    that all of them see. Any of them may be run again.

    Args:
        shard: which share.
        manifest: as in `extract_features`, and so are the others.
        run: the folder for everything made.
        modalities: which ones.
        recipe: name or TOML file.
        settings: `section.key=value` changes to the recipe.
        workers: processes; default: one a core.
        progress: told what moves.

    Raises:
        MmgenreError: something that concerns the whole run, or the shard is being read elsewhere.
    """
    state = prepare_run(
        Path(run),
        manifest=Path(manifest) if manifest else None,
        recipe=recipe,
        settings=settings,
        progress=progress,
    )
    present = [m for m in modalities if state.manifest.ids(having=[m]) and m not in state.given]
    if not present:
        raise MmgenreError(f"{state.dataset}: no item has {' or '.join(modalities)} to read")
    parts = {
        modality: extract_shard(
            state.manifest,
            modality,
            encoder_config(state.recipe, modality).input,
            state.inputs(modality),
            shard,
            workers=workers,
            progress=progress,
        )
        for modality in present
    }
    return ShardResult(state.folder, shard, parts)
