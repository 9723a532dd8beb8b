"""Readers that crash, are killed, run out of disk, share the work: nothing lost, nothing twice."""

from __future__ import annotations

import inspect
import os
import re
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import loky
import numpy as np
import psutil
import pytest
import soundfile
from text_files import CRASHING_SOUNDFILE, first_on_path

from mmgenre import workers
from mmgenre.audio.settings import SAMPLE_RATE_HZ, AudioInput
from mmgenre.disk.store import FeatureStore, content_hash
from mmgenre.errors import MmgenreError, StoreError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.reading import engines, extraction
from mmgenre.reading.extraction import Shard, extract_inputs, extract_shard

PART_ROWS = 4
# Reads the audio of a folder, a few rows a part; what the tests kill.
SCRIPT = f"""
import sys
from pathlib import Path
from mmgenre.errors import MmgenreError
from mmgenre.reading import extraction
from mmgenre.audio.settings import AudioInput
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest

extraction.PART_ROWS = {PART_ROWS}
folder, target, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
files = sorted(folder.glob("*.wav"))
manifest = Manifest([Item(f.stem, media={{"audio": (f,)}}) for f in files])
try:
    extraction.extract_inputs(
        manifest, "audio", AudioInput(), target, workers=workers,
        progress=lambda task, done, total: print(task, done, total, flush=True),
    )
except MmgenreError as error:
    sys.exit(str(error))
"""


def tones(folder: Path, n: int, seconds: float = 1.0) -> Manifest:
    """Items of one short track each."""
    folder.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    for k in range(n):
        path = folder / f"{k:03d}.wav"
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * (100 + 10 * k) * t), SAMPLE_RATE_HZ)
    return manifest_of(folder)


def manifest_of(folder: Path) -> Manifest:
    files = sorted(folder.glob("*.wav"))
    return Manifest([Item(file.stem, media={"audio": (file,)}) for file in files])


def start(folder: Path, target: Path, workers: int, **env: str) -> subprocess.Popen[str]:
    """The script, in a process group of its own, so that its workers can be killed with it."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(target), str(workers)],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(running: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = running.communicate(timeout=120)
    return running.returncode, errors


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "PART_ROWS", PART_ROWS)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.slow  # of covers and tracks alike: `datasets/test_audit.py`
@pytest.mark.parametrize("workers", [1, 2])
def test_a_decoder_that_crashes_costs_its_file_only(tmp_path: Path, workers: int) -> None:
    (tmp_path / "sitecustomize.py").write_text(CRASHING_SOUNDFILE)
    tones(tmp_path / "audio", 14)
    (tmp_path / "audio" / "006.wav").rename(tmp_path / "audio" / "006-crash.wav")
    target = tmp_path / "audio.h5"
    code, _ = finish(start(tmp_path / "audio", target, workers, PYTHONPATH=first_on_path(tmp_path)))
    if workers == 1:  # reads in the process itself, which dies; the next one knows why
        assert code == -signal.SIGSEGV
        code, _ = finish(start(tmp_path / "audio", target, 1, PYTHONPATH=first_on_path(tmp_path)))
    assert code == 0
    with FeatureStore(target, "audio") as store:
        assert len(store) == 13
        assert [(r.id, r.code) for r in store.refused] == [("006-crash#0", "crashed")]
        assert "006-crash.wav: reading it ended the process" in store.refused[0].detail
        assert "SIGSEGV" in store.refused[0].detail
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("audio", "audio.h5", "audio.media.h5", "sitecustomize.py")
    ]


@pytest.mark.slow  # of Dask: `test_dask.py`; of one that is lost: `test_workers.py`
def test_a_worker_that_is_killed_costs_nothing(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 32, seconds=20)
    target = tmp_path / "audio.h5"
    running = start(tmp_path / "audio", target, 2)
    assert running.stdout is not None
    for line in running.stdout:
        if not line.startswith("reading audio 0 "):
            break
    workers = [
        child
        for child in psutil.Process(running.pid).children()
        if "resource_tracker" not in " ".join(child.cmdline())
    ]
    assert len(workers) >= 2
    workers[0].kill()
    assert finish(running) == (0, "")
    with FeatureStore(target, "audio") as store:
        assert (len(store), store.refused) == (32, ())


def killed_and_repeated(
    tmp_path: Path, waits: Sequence[Callable[[subprocess.Popen[str]], object]], whole: str
) -> int:
    """Kills a reading after each wait, with all its processes, then finishes it."""
    n_unfinished = 0
    for number, wait in enumerate(waits):
        target = tmp_path / f"{number}" / "audio.h5"
        running = start(tmp_path / "audio", target, 1 + number % 2)
        wait(running)
        with_progress = running.poll() is None
        with suppress(ProcessLookupError):  # it was done
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        n_unfinished += with_progress and not target.exists()
        for part in target.parent.glob("audio.h5.parts/*.h5"):
            with FeatureStore(part, "audio") as store:
                store.verify()
        assert finish(start(tmp_path / "audio", target, 2)) == (0, "")
        assert content_hash(target) == whole
        assert {p.name for p in target.parent.iterdir()} == {"audio.h5", "audio.media.h5"}
    return n_unfinished


def until_rows(n: int) -> Callable[[subprocess.Popen[str]], None]:
    """Waits until a reading has reported n rows or more."""

    def wait(running: subprocess.Popen[str]) -> None:
        assert running.stdout is not None
        while int(running.stdout.readline().split()[2]) < n:
            pass

    return wait


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
def test_a_killed_reading_resumes_and_ends_with_the_same_store(tmp_path: Path) -> None:
    """With one worker here; with two in `test_end_to_end.py`, and below."""
    manifest = tones(tmp_path / "audio", 40, seconds=20)
    whole = extract_inputs(manifest, "audio", AudioInput(), tmp_path / "whole.h5", workers=1)
    assert killed_and_repeated(tmp_path, [until_rows(8)], content_hash(whole)) == 1


@pytest.mark.slow
def test_readings_killed_at_forty_random_moments_end_with_the_same_store(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 90, seconds=20)
    began = time.monotonic()
    assert finish(start(tmp_path / "audio", tmp_path / "whole.h5", 2)) == (0, "")
    took_s = time.monotonic() - began
    moments = np.random.default_rng(1).uniform(0.2 * took_s, 1.1 * took_s, 40)
    waits = [partial(lambda _, s: time.sleep(s), s=moment_s) for moment_s in moments]
    assert killed_and_repeated(tmp_path, waits, content_hash(tmp_path / "whole.h5")) >= 10


@pytest.mark.usefixtures("small_parts")
def test_a_full_disk_is_told_and_costs_nothing(tmp_path: Path) -> None:
    manifest, target = tones(tmp_path / "audio", 10, seconds=20), tmp_path / "run" / "audio.h5"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # Room for the parts, not for the file that they are merged into.
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, before[1]))
    try:
        with pytest.raises(StoreError, match=r"(?s)audio\.h5: cannot be written: File too large"):
            extract_inputs(manifest, "audio", AudioInput(), target, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    parts = sorted(p.name for p in target.parent.glob("audio.h5.parts/*"))
    assert [name.partition("-")[0] for name in parts] == [f"{k:06d}" for k in range(3)]
    assert not target.exists()
    extract_inputs(manifest, "audio", AudioInput(), target, workers=1)
    other = extract_inputs(manifest, "audio", AudioInput(), tmp_path / "other.h5", workers=1)
    assert content_hash(target) == content_hash(other)


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
def test_a_second_reader_is_refused_by_name(tmp_path: Path) -> None:
    manifest, target = tones(tmp_path / "audio", 40, seconds=30), tmp_path / "audio.h5"
    running = start(tmp_path / "audio", target, 1)
    assert running.stdout is not None
    running.stdout.readline()
    try:
        with pytest.raises(StoreError, match=rf"process {running.pid} on .* since "):
            extract_inputs(manifest, "audio", AudioInput(), target, workers=1)
    finally:
        running.kill()
        running.communicate()
    extract_inputs(manifest, "audio", AudioInput(), target, workers=1)
    assert len(FeatureStore(target, "audio")) == 40


@pytest.mark.usefixtures("small_parts")
def test_shards_are_parts_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, config = tones(tmp_path / "audio", 30), AudioInput()
    whole = extract_inputs(manifest, "audio", config, tmp_path / "whole.h5", workers=1)
    target = tmp_path / "shards" / "audio.h5"
    there = []
    for number in (2, 3, 1, 3):  # in any order, one of them again
        shard = Shard(number, 3)
        there.append(extract_shard(manifest, "audio", config, target, shard, workers=1))
    assert there == [(3, 8), (5, 8), (8, 8), (8, 8)]
    assert not target.exists()
    monkeypatch.setattr(engines, "read_part", None)  # nothing is left to read
    extract_inputs(manifest, "audio", config, target, workers=1)
    assert content_hash(target) == content_hash(whole)
    assert {p.name for p in target.parent.iterdir()} == {"audio.h5", "audio.media.h5"}
    again = extract_shard(manifest, "audio", config, target, Shard(1, 3), workers=1)
    assert again == (0, 0)  # parts of what is to be read: all rows are there


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "1/2/3", "-1/3", ""])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give I/N with I from 1 to N"):
        Shard.parse(text)


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
@pytest.mark.filterwarnings("default")  # of Dask's own clean-up
def test_dask_workers_give_what_local_ones_give(tmp_path: Path) -> None:
    manifest, config = tones(tmp_path / "audio", 30), AudioInput()
    (tmp_path / "audio" / "004.wav").write_bytes(b"no sound")
    here = extract_inputs(manifest, "audio", config, tmp_path / "here.h5", workers=1)
    there = tmp_path / "there.h5"
    extract_inputs(manifest, "audio", config, there, workers=2, dask="local")
    assert content_hash(here) == content_hash(there)
    with FeatureStore(there, "audio") as store:
        assert [r.id for r in store.refused] == ["004#0"]


def test_a_scheduler_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "DASK_TIMEOUT_S", 0.5)
    manifest = tones(tmp_path / "audio", 2)
    with pytest.raises(MmgenreError, match=re.escape("tcp://127.0.0.1:9")):
        extract_inputs(manifest, "audio", AudioInput(), tmp_path / "a.h5", dask="tcp://127.0.0.1:9")


def test_a_process_that_was_replaced_is_no_news_for_the_user() -> None:
    """As loky words it; a change of its words would show here."""
    assert workers.GROWN in inspect.getsource(loky.process_executor)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        workers.pool(1)
        warnings.warn(f"{workers.GROWN} to the executor because it grew.", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert [str(warning.message) for warning in told] == ["something else"]
