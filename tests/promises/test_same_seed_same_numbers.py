"""The same manifest, recipe and seed give the same bytes: elsewhere, later, in another process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from elsewhere import Twice, make_run, plain_json
from plain import TRAINED, plain_items

from mmgenre.disk.store import content_hash, group_names, provenance_of
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.times import LOG


def check_equal(one: Path, other: Path) -> int:
    """Every file of two runs has the same content; how many they are."""
    names = made_in(one)
    assert names == made_in(other)
    for name in names:
        a, b = one / name, other / name
        if name.suffix == ".h5":
            assert content_hash(a) == content_hash(b), name
            for group in group_names(a):
                assert made_from(a, group) == made_from(b, group), name
        elif name.name == "manifest.csv":
            found = [[(i.id, i.split, i.labels) for i in Manifest.read(p)] for p in (a, b)]
            assert found[0] == found[1]
        elif name.name in ("run.json", "metrics.json"):
            assert plain_json(a) == plain_json(b), name
        else:
            assert a.read_bytes() == b.read_bytes(), name
    return len(names)


def made_from(path: Path, group: str) -> dict[str, Any]:
    """The provenance of a group but for who made it: threads count from when torch is imported."""
    return {key: v for key, v in (provenance_of(path, group) or {}).items() if key != "made_by"}


def made_in(run: Path) -> list[Path]:
    files = (
        path
        for path in run.rglob("*")  # notes of what was found whole name inodes
        if path.is_file()
        and ".locks" not in path.parts
        and path.suffix != ".checked"
        and path.name != LOG  # how long things took
    )
    return sorted(path.relative_to(run) for path in files)


def test_a_run_made_elsewhere_is_the_same(twice: Twice, record_property: Any) -> None:
    assert twice.asked == []
    record_property("cases", check_equal(twice.here, twice.elsewhere))


HEADS = {
    "solved": ("fusion.solver=lbfgs", "fusion.combine=auto", "fusion.cross_fit=2"),
    "trained": ("fusion.solver=sgd", "fusion.combine=concatenation", "target.name=cosine",
                "fusion.head=cosine", "target.dim=2"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("heads", HEADS)
def test_so_is_one_whose_networks_are_trained(
    heads: str, tmp_path: Path, record_property: Any
) -> None:
    manifest = Manifest(plain_items(tmp_path / "media")).write(tmp_path / "m.csv")
    runs = [tmp_path / "one" / "run", tmp_path / "another folder" / "r"]
    for k, run in enumerate(runs):
        run.parent.mkdir()
        settings = (*TRAINED, "fusion.joint=beside", *HEADS[heads])
        # Media read by this process, and by two.
        assert make_run(manifest, run, settings, hash_seed=k, workers=1 + k) == []
    record_property("cases", check_equal(*runs))


@pytest.mark.slow
def test_another_seed_gives_other_numbers(tmp_path: Path) -> None:
    manifest = Manifest(plain_items(tmp_path / "media")).write(tmp_path / "m.csv")
    runs = [tmp_path / "0" / "run", tmp_path / "1" / "run"]
    for k, run in enumerate(runs):
        run.parent.mkdir()
        make_run(manifest, run, (*TRAINED, f"seed={k}"), hash_seed=0)
    one, other = (content_hash(run / "embeddings.h5") for run in runs)
    assert one != other
