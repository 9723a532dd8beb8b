"""A run by many jobs gives what one process gives: shards, workers of Dask, ranks of torchrun."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ranks
from plain import FIXED, plain_items

from mmgenre.disk.allowed import allow, allow_media
from mmgenre.disk.store import content_hash
from mmgenre.fusion import by_parts
from mmgenre.fusion.by_parts import predict_shard, predicted, work_of
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline import embed_parts
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.shards import read_shard
from mmgenre.reading import extraction
from mmgenre.reading.extraction import Shard

N, PER_PART = 24, 5
# What each rank of torchrun does: the commands, in parts as small as those here.
RANK = f"""
import sys
from mmgenre.cli import main
from mmgenre.pipeline import embed_parts

embed_parts.PART_ITEMS = {PER_PART}
sys.argv = ["mmgenre", *sys.argv[1:]]
main()
"""


@pytest.fixture(autouse=True, scope="module")
def _tiny_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(embed_parts, "PART_ITEMS", PER_PART)
        patched.setattr(by_parts, "PART_ITEMS", PER_PART)
        patched.setattr(extraction, "PART_ROWS", 2)
        yield


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("items")
    items = plain_items(folder, N, ("text",))
    path = folder / "items.csv"
    Manifest(items).write(path)
    return path


@pytest.fixture(scope="module")
def one(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    run = tmp_path_factory.mktemp("one") / "run"
    extract_features(manifest, run=run, recipe="quick", settings=FIXED, workers=1)
    fuse(run=run)
    return run


def made(run: Path) -> dict[str, str]:
    """Hashes of the rows of what a run consists of."""
    stores = [run / "embeddings.h5", *run.glob("inputs/text.h5"), *run.glob("fusion/*/scores.h5")]
    assert len(stores) == 3
    return {str(path.relative_to(run)): content_hash(path) for path in stores}


def not_embedded(run: Path, folder: Path, manifest: Path) -> Path:
    """A copy, by the user of the run, in which encoders have learned and nothing is embedded."""
    shutil.copytree(run, folder)
    allow_media(folder / "manifest.csv", [manifest.parent])
    allow(folder, [str(manifest)])
    (folder / "embeddings.h5").unlink()
    shutil.rmtree(folder / "fusion")
    return folder


@pytest.mark.slow
def test_four_shards(manifest: Path, one: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    how: dict[str, Any] = {"run": run, "recipe": "quick", "settings": FIXED, "workers": 1}
    for number in range(1, 5):
        found = read_shard(Shard(number, 4), manifest, **how)
        assert found.embedded == {}
    assert found.is_all_there
    extract_features(manifest, **how, embed=False)
    assert not (run / "embeddings.h5").exists()
    done = [read_shard(Shard(k, 4), run=run, workers=1).embedded for k in (1, 2, 4)]
    assert [own["text"] for own in done] == [(2, 5), (3, 5), (4, 5)]
    extract_features(run=run, workers=1)  # which embeds the part that is missing
    assert not (run / "embeddings.h5.parts").exists()
    fuse(run=run)
    assert made(run) == made(one)
    assert read_shard(Shard(3, 4), run=run, workers=1).embedded == {"text": (5, 5)}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Dask's own clean-up
def test_two_workers_of_dask(manifest: Path, one: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    run = not_embedded(one, tmp_path / "run", manifest)
    extract_features(run=run, dask="local", workers=2)
    fuse(run=run)
    assert made(run) == made(one)


@pytest.mark.slow
def test_two_ranks_of_torchrun(manifest: Path, one: Path, tmp_path: Path) -> None:
    run = not_embedded(one, tmp_path / "run", manifest)
    (tmp_path / "rank.py").write_text(RANK)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    launcher += [f"--master_port={ranks.free_port()}", "--", str(tmp_path / "rank.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for words in (["extract-features", "--workers", "1"], ["fuse"]):
        done = subprocess.run(
            [*launcher, *words, "--run", str(run)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert made(run) == made(one)


@pytest.mark.slow
def test_predictions_of_two_shards(manifest: Path, one: Path, tmp_path: Path) -> None:
    tagger, items = GenreTagger.from_pretrained(one), Manifest.read(manifest)
    with work_of(tagger, items, tmp_path / "a") as work:
        with predicted(work, workers=1) as (stream, refused):
            whole = list(stream)
        assert (len(whole), refused) == (N, [])
        done = [predict_shard(work, Shard(k, 2), workers=1).done for k in (1, 2)]
        assert done == [3, 5]
        with predicted(work, workers=1) as (stream, _):
            assert list(stream) == whole
