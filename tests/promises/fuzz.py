"""Coverage-guided fuzzing of every reader: how many executions, and what crashed or hung.

    pip install atheris
    python tests/promises/fuzz.py [--seconds 60] [READER ...]

An input that raises anything but an error of ours, takes more than 10 s or more than 1 GB is kept
in `cases/READER/`, which `test_fuzzed_cases.py` reads again.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CASES = HERE / "cases"
TIMEOUT_S, MEMORY_MB = 10, 1024
BASE_MB = 900  # what libraries take by themselves


def fuzz_one(name: str, corpus: Path, seconds: int) -> None:
    """Fuzzes a reader in this process until the time is over, or an input crashes it."""
    atheris: Any = importlib.import_module("atheris")
    sys.path[:0] = [str(HERE.parent / "helpers"), str(HERE.parents[1])]
    with atheris.instrument_imports(include=["mmgenre", "tomllib", "zipfile"]):
        fuzzed = importlib.import_module("fuzzed")
    errors = importlib.import_module("mmgenre.errors")
    reader = fuzzed.READERS[name]
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    for k, seed in enumerate(reader.seeds(folder)):
        (corpus / f"seed-{k}").write_bytes(seed)
    work = folder / "work"
    work.mkdir()

    def test_one_input(data: bytes) -> None:
        with suppress(errors.MmgenreError):
            reader.read(data, work)

    options = [
        f"-max_total_time={seconds}",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={BASE_MB + MEMORY_MB}",
        f"-malloc_limit_mb={MEMORY_MB}",
        f"-max_len={reader.longest}",
        f"-artifact_prefix={CASES / name}/",
        "-print_final_stats=1",
        "-seed=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], test_one_input)
    atheris.Fuzz()


def fuzz(name: str, seconds: int) -> tuple[int, int]:
    """Fuzzes a reader for so long, again after each crash; (executions, crashes)."""
    (CASES / name).mkdir(parents=True, exist_ok=True)
    executions = crashes = 0
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as corpus:
        while (left := round(end - time.monotonic())) > 5 and crashes < 20:
            done = subprocess.run(
                [sys.executable, __file__, "--inside", corpus, "--seconds", str(left), name],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            found = re.findall(r"stat::number_of_executed_units:\s+(\d+)", done.stderr)
            executions += int(found[-1]) if found else 0
            if done.returncode:
                crashes += 1
                said = [*done.stdout.splitlines(), *done.stderr.splitlines()]
                shown = [k for k, line in enumerate(said) if "Uncaught" in line or "ERROR" in line]
                print("\n".join(said[shown[0] if shown else -15 :][:25]), flush=True)
    if not any((CASES / name).iterdir()):
        (CASES / name).rmdir()
    return executions, crashes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--inside", type=Path, help="internal: fuzz in this process")
    given = parser.parse_args()
    if given.inside:
        fuzz_one(given.readers[0], given.inside, given.seconds)
        return
    if importlib.util.find_spec("atheris") is None:
        sys.exit("fuzzing needs the package atheris: pip install atheris")
    known = ("manifest", "recipe", "run", "store", "bundle", "features", "text", "image", "audio")
    for name in given.readers or known:
        started = time.monotonic()
        executions, crashes = fuzz(name, given.seconds)
        took = time.monotonic() - started
        print(f"{name:9} {took:5.0f} s {executions:10,} executions {crashes:3} crashes", flush=True)


if __name__ == "__main__":
    main()
