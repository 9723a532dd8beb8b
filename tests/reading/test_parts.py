"""Parts of the work: when one counts as read, what is noted of crashes, what ends a run."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile

from mmgenre.audio.settings import SAMPLE_RATE_HZ, AudioInput
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, content_hash
from mmgenre.errors import MmgenreError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.kinds import KINDS
from mmgenre.reading import engines, extraction, parts
from mmgenre.reading.engines import read_parts
from mmgenre.reading.extraction import extract_inputs, parts_of
from mmgenre.reading.parts import Part, part_name, read_part
from mmgenre.text.settings import TextInput
from mmgenre.workers import WorkerLostError

MADE = Provenance("inputs", 1, {})


def texts(n: int) -> Manifest:
    return Manifest([Item(f"i{k:02d}", media={"text": (f"Text number {k}.",)}) for k in range(n)])


def some_parts(folder: Path, n: int = 6, made: Provenance = MADE) -> list[Part]:
    return parts_of(texts(n), "text", TextInput(), folder / "t.h5", made)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "PART_ROWS", 2)


def kept(folder: Path) -> list[str]:
    """Part files of `some_parts`, in order."""
    return sorted(path.name for path in (folder / "t.h5.parts").glob("*.h5"))


def test_to_go_on_no_part_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = some_parts(tmp_path)
    assert read_parts(done, workers=1) == []
    monkeypatch.setattr(parts, "FeatureStore", None)
    monkeypatch.setattr(engines, "read_part", None)
    told: list[tuple[str, int, int]] = []
    assert read_parts(done, progress=lambda *words: told.append(words)) == []
    assert told == [("reading text", 6, 6)]


def test_a_part_that_another_process_has_read_since_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = some_parts(tmp_path)[0]
    assert read_part(part)
    before = part.path.stat()

    def fail(*_: object) -> None:
        raise AssertionError("the part was read again")

    monkeypatch.setattr(parts, "_read", fail)
    assert read_part(part)
    assert part.path.stat() == before


def test_a_part_is_named_by_all_that_it_depends_on() -> None:
    row, other = ("a", (Path("a.mp3"),)), ("b", (Path("b.mp3"),))
    names = [
        part_name(0, "0123", [row, other]),
        part_name(0, "0123", [row]),
        part_name(0, "0123", [other, row]),
        part_name(0, "0124", [row, other]),
        part_name(1, "0123", [row, other]),
        part_name(0, "0123", [("ab", ())]),
    ]
    assert len(set(names)) == len(names)


def test_parts_of_other_settings_give_way_one_by_one(tmp_path: Path) -> None:
    before, now = some_parts(tmp_path), some_parts(tmp_path, made=replace(MADE, stage_version=2))
    read_parts(before, workers=1)
    beside = before[0].path.with_name("000000.h5")  # as earlier versions named them
    beside.touch()
    assert kept(tmp_path) == sorted([beside.name, *(part.path.name for part in before)])

    def stop(task: str, done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_parts(now, workers=1, progress=stop)
    assert kept(tmp_path) == [part.path.name for part in (*now[:2], before[2])]
    read_parts(now, workers=1)
    assert kept(tmp_path) == [part.path.name for part in now]


@pytest.mark.parametrize("what", ["cut short", "other rows", "other settings", "fewer rows"])
def test_a_part_that_is_not_what_its_name_says_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    manifest, target = texts(6), tmp_path / "t.h5"
    whole = extract_inputs(manifest, "text", TextInput(), tmp_path / "whole.h5", workers=1)
    made = extraction.inputs_provenance(manifest, "text", TextInput())
    one, two, three = some_parts(tmp_path, made=made)
    read_parts([one, two, three], workers=1)
    if what == "cut short":
        two.path.write_bytes(two.path.read_bytes()[:500])
    elif what == "other rows":
        two.path.write_bytes(three.path.read_bytes())
    elif what == "other settings":
        other = some_parts(tmp_path / "other", made=MADE)
        read_parts(other, workers=1)
        two.path.write_bytes(other[1].path.read_bytes())
    else:
        fewer = replace(two, path=tmp_path / "fewer.h5", rows=two.rows[:1])
        read_parts([fewer], workers=1)
        two.path.write_bytes(fewer.path.read_bytes())
    read: list[Path] = []

    def noting(part: Part) -> bool:
        read.append(part.path)
        return read_part(part)

    monkeypatch.setattr(engines, "read_part", noting)
    extract_inputs(manifest, "text", TextInput(), target, workers=1)
    assert read == [two.path]
    assert content_hash(target) == content_hash(whole)


@pytest.mark.parametrize("rows", [1, 4])
def test_parts_of_another_size_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    manifest, target = texts(8), tmp_path / "t.h5"

    def stop(task: str, done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_inputs(manifest, "text", TextInput(), target, workers=1, progress=stop)
    monkeypatch.setattr(extraction, "PART_ROWS", rows)
    extract_inputs(manifest, "text", TextInput(), target, workers=1)
    with FeatureStore(target, "text") as store:
        assert store.ids == manifest.ids()


def test_a_crash_is_of_its_settings_and_media(tmp_path: Path) -> None:
    before, now = some_parts(tmp_path), some_parts(tmp_path, made=replace(MADE, stage_version=2))
    before[0].path.parent.mkdir(parents=True)
    before[0].being_read.write_text("i01")
    assert before[0].blame(WorkerLostError("SIGSEGV(-11)"))
    why = "reading it ended the process, twice (SIGSEGV(-11))"
    assert before[0].crashed() == {"i01": ("crashed", why)}
    assert now[0].crashed() == {}
    read_parts(now, workers=1)
    with FeatureStore(now[0].path, "text") as store:
        assert store.ids == ("i00", "i01")


def test_a_row_that_took_too_long_is_called_so(tmp_path: Path) -> None:
    part = some_parts(tmp_path)[0]
    part.path.parent.mkdir(parents=True)
    part.being_read.write_text("i00")
    assert part.blame(WorkerLostError("SIGALRM(-14)"))
    assert part.crashed() == {"i00": ("too_slow", "reading it took longer than 300 s, twice")}
    assert read_part(part)
    with FeatureStore(part.path, "text") as store:
        assert [(r.id, r.code) for r in store.refused] == [("i00", "too_slow")]


def test_the_process_is_to_end_a_while_after_each_row_begins(tmp_path: Path) -> None:
    told: list[float] = []
    part = replace(some_parts(tmp_path)[0], limit_s=7.0)
    assert read_part(part, told.append)
    assert told == [7.0, 7.0, 0]


def test_the_row_that_is_being_read_is_named_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a longer name, and by whoever reads it from outside."""
    names = ["a-long-name", "b", "cé", "d-longer"]
    manifest = Manifest([Item(name, media={"text": (f"Text of {name}.",)}) for name in names])
    made = parts_of(manifest, "text", TextInput(), tmp_path / "t.h5", MADE)
    made[1].crashes.parent.mkdir()
    made[1].crashes.write_text('["d-longer", "SIGSEGV"]\n')
    text = KINDS["text"]
    seen: list[str] = []

    def peeking(media: Sequence[Path | str], config: Any, row_id: str) -> Any:
        seen.extend(path.read_text("utf-8") for path in tmp_path.glob("*.parts/*.reading"))
        return text.read(media, config, row_id)

    monkeypatch.setitem(KINDS, "text", replace(text, read=peeking))
    read_parts(made, workers=1)
    assert seen == names[:3]
    assert not list(tmp_path.glob("*.parts/*.reading"))
    with FeatureStore(made[1].path, "text") as store:
        assert [(r.id, r.code) for r in store.refused] == [("d-longer", "crashed")]


def test_a_torn_line_about_a_crash_is_passed_over(tmp_path: Path) -> None:
    part = some_parts(tmp_path)[0]
    part.path.parent.mkdir(parents=True)
    part.crashes.write_text(json.dumps(["i00", "SIGSEGV"]) + '\n["i01", "SIG')
    assert part.crashed() == {"i00": ("crashed", "SIGSEGV")}
    part.being_read.write_text("i0")  # cut short, too: no row of this part
    assert not part.blame(WorkerLostError("SIGSEGV(-11)"))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (MemoryError("of 9 GB"), r"inline text of i03: too little memory .* fewer --workers"),
        (OSError(errno.EIO, "Input/output error"), "i03: .*Input/output error.* not of the file"),
        (OSError(errno.EMFILE, "Too many open files"), "a fault of this machine"),
    ],
)
def test_faults_of_the_machine_end_the_run_and_not_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, words: str
) -> None:
    text, manifest, target = KINDS["text"], texts(6), tmp_path / "t.h5"

    def failing(media: Sequence[Path | str], config: Any, row_id: str) -> Any:
        if media[0] == "Text number 3.":
            raise fault
        return text.read(media, config, row_id)

    with monkeypatch.context() as patched:
        patched.setitem(KINDS, "text", replace(text, read=failing))
        with pytest.raises(MmgenreError, match=words):
            extract_inputs(manifest, "text", TextInput(), target, workers=1)
    extract_inputs(manifest, "text", TextInput(), target, workers=1)
    with FeatureStore(target, "text") as store:
        assert (len(store), store.refused) == (6, ())


def test_a_part_with_a_flipped_byte_is_read_again(tmp_path: Path) -> None:
    manifest, target = texts(6), tmp_path / "t.h5"
    whole = extract_inputs(manifest, "text", TextInput(), tmp_path / "whole.h5", workers=1)
    spoilt: list[Path] = []

    def spoil(task: str, done: int, total: int) -> None:
        if done == total and not spoilt:
            spoilt.extend((tmp_path / "t.h5.parts").glob("000001-*.h5"))
            with h5py.File(spoilt[0], "r+") as part:
                part["text/data"][0] = 7  # HDF5's own checksum is right, ours is not

    extract_inputs(manifest, "text", TextInput(), target, workers=1, progress=spoil)
    assert spoilt
    assert content_hash(target) == content_hash(whole)


def test_a_store_cut_short_is_made_again(tmp_path: Path) -> None:
    manifest, target = texts(6), tmp_path / "t.h5"
    extract_inputs(manifest, "text", TextInput(), target, workers=1)
    whole = content_hash(target)
    target.write_bytes(target.read_bytes()[:500])
    extract_inputs(manifest, "text", TextInput(), target, workers=1)
    assert content_hash(target) == whole


def test_samples_that_no_sound_has_cost_their_file_only(tmp_path: Path) -> None:
    t = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    items = []
    for name, gain in (("sound", 1.0), ("loud", 1e20), ("loudest", 3e38)):
        path = tmp_path / f"{name}.wav"
        tone = (gain * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
        soundfile.write(path, tone, SAMPLE_RATE_HZ, subtype="FLOAT")
        items.append(Item(name, media={"audio": (path,)}))
    target = tmp_path / "audio.h5"
    extract_inputs(Manifest(items), "audio", AudioInput(), target, workers=1)
    with FeatureStore(target, "audio") as store:
        assert store.ids == ("sound#0",)
        assert {r.code for r in store.refused} == {"not_finite"}
        assert "1e+20 times full scale" in store.refused[0].detail


def test_a_finished_store_leaves_the_parts_of_others_at_work(tmp_path: Path) -> None:
    manifest, target = texts(6), tmp_path / "t.h5"
    first = extract_inputs(manifest, "text", TextInput(), target, workers=1)
    seen = []

    def meanwhile(task: str, done: int, total: int) -> None:
        # With the settings of the finished store, from another process.
        if done == 4:
            code = (
                "from mmgenre.reading.extraction import *; from mmgenre import Item, Manifest;"
                "from mmgenre.text.decoding import TextInput; from pathlib import Path;"
                "m = Manifest([Item(f'i{k:02d}', media={'text': (f'Text number {k}.',)})"
                " for k in range(6)]);"
                f"extract_inputs(m, 'text', TextInput(), Path({str(first)!r}), workers=1)"
            )
            done_there = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=False
            )
            seen.append(done_there.stderr)

    other = TextInput(max_characters=8)
    extract_inputs(manifest, "text", other, target, workers=1, progress=meanwhile)
    assert len(seen) == 1
    assert "has been writing it since" in seen[0]
    with FeatureStore(target, "text") as store:
        assert store.read_text("i05") == "Text"


def test_without_a_place_for_it_machine_code_is_made_anew(tmp_path: Path) -> None:
    code = (
        "import numba; real = numba.njit\n"
        "def njit(*args, **options):\n"
        "    if options.get('cache'): raise RuntimeError('no locator available')\n"
        "    return real(*args, **options)\n"
        "numba.njit = njit\n"
        "import numpy as np; from mmgenre.audio.octaves import magnitudes\n"
        "out = np.zeros((1, 1), np.float32)\n"
        "magnitudes(np.array([[3, 4]], np.float32), 1.0, out)\n"
        "print(out[0, 0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "5.0"
