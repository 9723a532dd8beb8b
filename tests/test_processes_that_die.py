"""Processes that die, or are ended, while they work: what they did is named, the rest goes on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from odd_work import odd_work

from mmgenre import workers
from mmgenre.workers import WorkerLostError, alone, by_pool, limit_s_of, pool, surviving


def test_every_job_has_a_result_or_the_error_that_it_ends_processes() -> None:
    jobs = [f"{k} fine" for k in range(12)]
    jobs[3], jobs[7] = "3 crash", "7 stuck"
    found = dict(surviving(odd_work, jobs, workers=2))
    assert found.keys() == set(jobs)
    errors = {job: str(r) for job, r in found.items() if isinstance(r, WorkerLostError)}
    assert errors == {"3 crash": "SIGSEGV(-11)", "7 stuck": "SIGALRM(-14)"}
    assert all(found[job] == job.upper() for job in jobs if job not in errors)


def test_what_is_lost_is_named() -> None:
    with pytest.raises(WorkerLostError) as caught:
        dict(by_pool(odd_work, ["crash"], 1))
    assert caught.value.jobs == ("crash",)
    with pytest.raises(WorkerLostError, match=r"^SIGSEGV\(-11\)$"):
        alone(odd_work, "crash")
    assert alone(odd_work, "fine") == "FINE"


def test_a_process_that_is_started_after_idle_ones_have_ended_is_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "IDLE_S", 0.1)
    assert dict(by_pool(odd_work, ["fine"], 1)) == {"fine": "FINE"}
    while pool(1)._processes:  # they end after 0.1 s without work
        time.sleep(0.05)

    def stop(*_: object) -> None:
        raise TimeoutError("nobody saw that the process had ended")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        with pytest.raises(WorkerLostError):
            dict(by_pool(odd_work, ["crash"], 1))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_errors_of_the_work_itself_are_raised() -> None:
    with pytest.raises(ValueError, match="1 wrong"):
        dict(surviving(odd_work, ["0 fine", "1 wrong"], workers=1))
    assert dict(surviving(odd_work, [])) == {}


def test_the_time_limit_grows_with_the_files(tmp_path: Path) -> None:
    with (tmp_path / "large.wav").open("wb") as file:
        file.truncate(50_000_000)
    files = [tmp_path / "large.wav", tmp_path / "gone.wav", tmp_path / "odd\0name"]
    assert limit_s_of(files) == 350
    assert limit_s_of([]) == 300


def test_an_item_that_ended_two_processes_is_called_slow_or_crashing() -> None:
    slow = WorkerLostError("SIGALRM(-14)").of_item("a.mp3", 350)
    assert str(slow) == "a.mp3: reading it took longer than 350 s, twice [too_slow]"
    crashed = WorkerLostError("SIGSEGV(-11)").of_item("a.mp3", 350)
    assert crashed.code == "crashed"
