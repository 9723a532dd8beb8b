"""All faults of a manifest at once, each with its line and column, and nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from command_line import Call
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgenre.errors import ManifestError
from mmgenre.items.manifest import Manifest
from mmgenre.items.read_csv import CHUNK_ROWS

HEADER = "id,split,labels,audio,image,text_file,text"
# A faulty row, {} where its own number stands -> what its faults begin with.
FAULTS = {
    ",train,Rock,,,,x": ["empty id"],
    " ,train,Rock,,,,x": ["empty id"],
    "x{}#1,train,Rock,,,,x": ["id 'x{}#1': '#', spaces around it"],
    "x\t{},train,Rock,,,,x": ["id 'x\\t{}': '#', spaces around it"],
    "x{},Train,Rock,,,,x": ["split 'Train': must be train, val, test or empty"],
    "x{},train,Rock;Rock,,,,x": ["labels: an entry appears twice in 'Rock;Rock'"],
    "x{},train,/Rock,,,,x": ["labels: '/Rock' has an empty part"],
    "x{},train,Rock,a;;b,,,x": ["audio: empty entry in 'a;;b'"],
    "x{},train,Rock,,a.jpg;b.jpg,,x": ["image: one cover an item, got several"],
    "x{},train,Rock,,,a.txt;a.txt,x": ["text_file: an entry appears twice in 'a.txt;a.txt'"],
    "x{},train,Rock,a\0b,,,x": ["audio: a NUL character in 'a\\x00b'"],
    "x{},train,Rock,x": ["4 fields, but the header has 7"],
    "x{},train,Rock,,,,x,y,z": ["9 fields, but the header has 7"],
    'x{},train,Rock,,,,"x" y': ["',' expected after '\"'"],
    "again,train,Rock,,,,x": ["id 'again' stands in line 2 already"],
    "x{},Train,/Rock,a;;b,a;b,,x": [
        "split 'Train'",
        "labels: '/Rock'",
        "audio: empty entry",
        "image: one cover",
    ],
}


def faults_of(content: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.csv")
        path.write_text(content, encoding="utf-8", newline="")
        with pytest.raises(ManifestError) as caught:
            Manifest.read(path)
        assert caught.value.where == str(path)
        return list(caught.value.faults)


def check(planted: list[tuple[int, str]], end: str, last: str) -> int:
    """`planted`: lines of a sound row's text, and the faulty row after it; how many faults."""
    rows, expected, line = ["again,,Rock,,,,"], [], 3
    for number, (height, faulty) in enumerate(planted):
        rows.append(f'{len(planted) - number},,Rock,,,,"{"x" + end * height}"')
        line += height + 1
        rows.append(faulty.format(number))
        expected += [f"line {line}: {fault.format(number)}" for fault in FAULTS[faulty]]
        line += 1
    found = faults_of(end.join([HEADER, *rows]) + last)
    assert len(found) == len(expected), "\n".join(found)
    for fault, beginning in zip(found, expected, strict=True):
        assert fault.startswith(beginning)
    return len(expected)


ROWS = st.tuples(st.integers(0, 3), st.sampled_from(sorted(FAULTS)))


@settings(max_examples=40, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=60), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_faults_in_any_rows(planted: list[tuple[int, str]], end: str, ended: bool) -> None:
    """Among rows whose texts have several lines, in no order of ids."""
    check(planted, end, end if ended else "")


def test_every_fault_in_every_place_of_a_long_manifest(record_property: Any) -> None:
    planted = [(k % 3, sorted(FAULTS)[k % len(FAULTS)]) for k in range(3 * CHUNK_ROWS)]
    n_faults = check(planted, "\n", "\n")
    assert n_faults > 3 * CHUNK_ROWS
    record_property("cases", n_faults)


def test_faults_of_the_header_do_not_hide_those_below() -> None:
    faults = faults_of("id,Split,lables,audio\na,,,x;;y\na,,,\n")
    assert [fault[:40] for fault in faults] == [
        "line 1: column 'Split' is probably meant",
        "line 1: column 'lables' is probably mean",
        "line 2: audio: empty entry in 'x;;y'",
        "line 3: id 'a' stands in line 2 already",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("manifest", "check", "m.csv"),
        ("manifest", "info", "m.csv"),
        ("extract-features", "--run", "run", "--manifest", "m.csv"),
        ("fuse", "--run", "run", "--manifest", "m.csv"),
    ],
)
def test_every_command_lists_them_all(
    words: tuple[str, ...], tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [faulty.format(k) for k, faulty in enumerate(sorted(FAULTS))]
    Path("m.csv").write_text("\n".join([HEADER, "again,,,,,,", *rows]), encoding="utf-8")
    ended = call(*words)
    assert ended.code == 1
    n_faults = sum(map(len, FAULTS.values()))
    assert f"m.csv: {n_faults} fault(s)" in ended.err
    assert sum(line.startswith("  line ") for line in ended.err.splitlines()) == n_faults
    assert "Traceback" not in ended.err
    assert not Path("run").exists()
