"""Knowledge bases: faults with their lines, compiled once, and the one that comes with mmgenre."""

from __future__ import annotations

import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmgenre.errors import FaultsError, MmgenreError
from mmgenre.text.entities.annotators import BUILT_IN_FOLDER
from mmgenre.text.entities.folding import name_key
from mmgenre.text.entities.knowledge import ENTITIES, SURFACES, open_knowledge, read_tables

SENSES = ["house\tHouse_music\t0.5", "house\tHouse\t.5", "jazz\tJazz\t1"]
THINGS = [
    "House_music\tHouse music\tDance music;Chicago",
    "House\tHouse\tBuildings",
    "Jazz\tJazz\tJ",
]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MMGENRE_CACHE", str(folder))
    return folder / "knowledge"


def write_base(folder: Path, surfaces: list[str] | None, entities: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    tables = {SURFACES: ("surface\tentity\tprior", surfaces)}
    tables[ENTITIES] = ("entity\ttitle\tcategories", entities)
    for name, (header, rows) in tables.items():
        if rows is not None:
            (folder / name).write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return folder


def test_senses_come_commonest_first(tmp_path: Path) -> None:
    base = open_knowledge(write_base(tmp_path / "b", ["a\tJazz\t.2", "A\tHouse\t.7"], THINGS))
    [(number, key)] = base.names()
    assert key == name_key("a")
    assert [(s.written, s.entity.title, s.prior) for s in base.senses(number)] == [
        ("A", "House", 0.7),
        ("a", "Jazz", 0.2),
    ]
    entity = base.entity("House_music")
    assert entity is not None
    assert entity.categories == ("Dance music", "Chicago")
    assert base.entity("Techno") is None
    assert base.n_entities() == 3
    assert base.n_entities_by_word()["house"] == 2


@pytest.mark.parametrize(
    ("surfaces", "entities", "fault"),
    [
        (["house\tTechno\t.5"], [], "surfaces.tsv:2: entity 'Techno' is not in entities.tsv"),
        (["house\tHouse\t0"], [], "surfaces.tsv:2: prior must be a number in (0, 1], got '0'"),
        (["house\tHouse\t1.5"], [], "surfaces.tsv:2: prior must be a number in (0, 1], got '1.5'"),
        (["house\tHouse\tnan"], [], "surfaces.tsv:2: prior must be a number in (0, 1], got 'nan'"),
        (["house\tHouse\toften"], [], "must be a number in (0, 1], got 'often'"),
        (
            ["hip hop\tHouse\t.2", "Hip-Hop\tHouse\t.2"],
            [],
            "surfaces.tsv:3: 'Hip-Hop' means 'House' twice (also as 'hip hop')",
        ),
        (["a\tHouse\t.6", "A\tJazz\t.5"], [], "surfaces.tsv:3: the priors of 'A' sum to 1.1"),
        (["!!!\tHouse\t.6"], [], "surfaces.tsv:2: surface '!!!' has no letter or digit"),
        (["house\tHouse"], [], "surfaces.tsv:2: 2 columns, 3 are needed"),
        (["\tHouse\t "], [], "surfaces.tsv:2: no surface and no prior"),
        ([], [], "surfaces.tsv: has a header and no row"),
        (SENSES, ["House\tH\tX"], "entities.tsv:5: entity 'House' appears twice"),
        (SENSES, ["Techno\tTechno\t"], "entities.tsv:5: no categories"),
        (SENSES, ["Techno\tTechno\tX;;Y"], "entities.tsv:5: category '' has no letter or digit"),
        (SENSES, ["Techno\tTechno\tX; X"], "entities.tsv:5: a category appears twice in 'X; X'"),
    ],
)
def test_faults_are_named(
    tmp_path: Path, surfaces: list[str], entities: list[str], fault: str
) -> None:
    folder = write_base(tmp_path / "base", surfaces, THINGS + entities)
    with pytest.raises(FaultsError) as caught:
        open_knowledge(folder)
    assert len(caught.value.faults) == 1
    assert fault in str(caught.value)


def test_all_faults_are_listed(tmp_path: Path, cache: Path) -> None:
    folder = write_base(tmp_path / "base", ["a\tX\t2", "b\tHouse\t.5"], ["House\t\tB"])
    with pytest.raises(FaultsError, match=r"base: 4 fault\(s\)\n  entities.tsv:2: no title") as c:
        open_knowledge(folder)
    assert [f.split(":")[1] for f in c.value.faults] == ["2", "2", "2", "3"]
    assert not cache.exists()


def test_other_files_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(FaultsError, match=r"entities\.tsv: cannot be read: .*No such file"):
        open_knowledge(tmp_path / "nowhere")
    folder = write_base(tmp_path / "base", SENSES, THINGS)
    (folder / ENTITIES).write_text("entity,title,categories\n")
    with pytest.raises(FaultsError, match=r"entities\.tsv:1: the header must be entity, title"):
        open_knowledge(folder)
    (folder / ENTITIES).write_bytes("entity\ttitle\tcategories\nA\tÄ\tB".encode("latin-1"))
    with pytest.raises(
        FaultsError, match=r"entities\.tsv: cannot be read: 'utf-8' .* in position 26"
    ):
        open_knowledge(folder)


def test_windows_files_and_byte_order_marks_are_read(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", SENSES, THINGS)
    for name in (SURFACES, ENTITIES):
        text = (folder / name).read_text().replace("\n", "\r\n")
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_tables(folder)[0]["Jazz"].categories == ("J",)


def test_a_base_is_compiled_once_for_its_bytes(tmp_path: Path, cache: Path) -> None:
    folder = write_base(tmp_path / "base", SENSES, THINGS)
    open_knowledge(folder)
    [compiled] = cache.iterdir()
    made = compiled.stat()
    open_knowledge(write_base(tmp_path / "copy", SENSES, THINGS))
    assert compiled.stat().st_mtime_ns == made.st_mtime_ns
    write_base(folder, SENSES, [*THINGS, "Techno\tTechno\tX"])
    assert open_knowledge(folder).n_entities() == 4
    assert len(list(cache.iterdir())) == 2
    (folder / SURFACES).unlink()  # a base for categories alone
    assert list(open_knowledge(folder).names()) == []
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize("damage", [b"", b"no database", None])
def test_a_damaged_cache_is_compiled_anew(
    tmp_path: Path, cache: Path, damage: bytes | None
) -> None:
    folder = write_base(tmp_path / "base", SENSES, THINGS)
    open_knowledge(folder)
    [compiled] = cache.iterdir()
    whole = compiled.read_bytes()
    compiled.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert open_knowledge(folder).n_entities() == 3


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path / "file"))
    folder = write_base(tmp_path / "base", SENSES, THINGS)
    with pytest.raises(MmgenreError, match=r"cannot be written .*variable MMGENRE_CACHE"):
        open_knowledge(folder)


def test_threads_share_a_base() -> None:
    base = open_knowledge(BUILT_IN_FOLDER)
    names = list(base.names())
    expected = [base.senses.__wrapped__(number) for number, _ in names]
    start = threading.Barrier(8)

    def read(k: int) -> bool:
        start.wait()
        order = [*range(k, len(names)), *range(k)]
        return all(base.senses(names[i][0]) == expected[i] for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))


def test_the_built_in_base_is_sound_and_has_something_to_say() -> None:
    entities, senses_of = read_tables(BUILT_IN_FOLDER)  # its faults would be listed
    assert len(entities) >= 600
    assert len(senses_of) >= 900
    known = {sense.entity.name for senses in senses_of.values() for sense in senses}
    assert known == entities.keys()  # an entity without a name is never found
    ambiguous = {key for key, senses in senses_of.items() if len(senses) > 1}
    wanted = "house soul Nirvana Genesis Boston Chicago Prince Kiss metal bass salsa"
    names = re.split(" ", wanted)
    assert {name_key(name) for name in names} <= ambiguous
    categories = Counter(c for e in entities.values() for c in e.categories)
    shared = sum(n for n in categories.values() if n > 1)
    assert shared > 0.6 * categories.total()  # entities of a kind must have words in common
    for name in entities:
        assert " " not in name, name
