from __future__ import annotations

import pickle

import pytest

from mmgenre.errors import BundleError, InputError, ManifestError, MmgenreError


@pytest.mark.parametrize(
    "error",
    [
        InputError("truncated", "a.mp3", "1 of 2 samples decoded"),
        ManifestError("m.csv", ["line 2: empty id", "line 3: empty id"]),
        BundleError("m: no such model folder"),
    ],
)
def test_an_error_returns_whole_from_a_worker_process(error: MmgenreError) -> None:
    # As concurrent.futures sends it: an error that does not unpickle breaks the pool.
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_manifest_error_shows_the_first_fifty_faults_and_keeps_all() -> None:
    error = ManifestError("m.csv", [f"line {n}: empty id" for n in range(2, 62)])
    assert "m.csv: 60 fault(s)" in str(error)
    assert "line 51: " in str(error)
    assert "line 52: " not in str(error)
    assert "... and 10 more" in str(error)
    assert len(error.faults) == 60


def test_input_error_says_where_what_and_why() -> None:
    error = InputError("silent", "a.wav", "peak below 1e-5")
    assert (error.code, str(error)) == ("silent", "a.wav: peak below 1e-5 [silent]")
