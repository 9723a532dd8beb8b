"""The built-in catalogue: real files, the same from the same seed, and never half of one."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from mmgenre.datasets.synthetic import built_in_catalogue, make_catalogue
from mmgenre.datasets.synthetic.bands import STYLES
from mmgenre.datasets.synthetic.catalogue import COLUMNS, GENERATOR_VERSION, _ogg_crc
from mmgenre.datasets.synthetic.covers import LETTERING, MOTIFS, PALETTES
from mmgenre.datasets.synthetic.music import DRUMS, INSTRUMENTS
from mmgenre.datasets.synthetic.plan import GENRES, MISSING_SHARE, SUBGENRES, genre_of, plan_albums
from mmgenre.datasets.synthetic.reviews import QUALITIES, THINGS
from mmgenre.items.modalities import MODALITIES

N_ALBUMS = 12  # half the table of audio formats: all four of them, mono and stereo


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_catalogue(tmp_path_factory.mktemp("catalogue"), n_albums=N_ALBUMS, workers=2)


@pytest.fixture(scope="module")
def rows(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames or ()) == COLUMNS
        return list(reader)


def _paths(rows: list[dict[str, str]], column: str) -> list[str]:
    return [path for row in rows for path in row[column].split(";") if path]


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_files_depend_on_the_seed_alone(manifest: Path, tmp_path: Path) -> None:
    alone = make_catalogue(tmp_path / "alone", n_albums=N_ALBUMS, workers=1)
    assert _contents(alone.parent) == _contents(manifest.parent)


def test_another_seed_is_another_catalogue(tmp_path: Path) -> None:
    first, second = (
        _contents(make_catalogue(tmp_path / str(seed), seed=seed, n_albums=2).parent)
        for seed in (0, 1)
    )
    shared = set(first) & set(second)
    assert "manifest.csv" in shared
    assert all(first[name] != second[name] for name in shared)


def test_every_file_is_listed_and_every_listed_file_is_there(
    manifest: Path, rows: list[dict[str, str]]
) -> None:
    listed = [path for column in ("audio", "image", "text_file") for path in _paths(rows, column)]
    assert sorted([*listed, "manifest.csv"]) == sorted(_contents(manifest.parent))
    assert [row["id"] for row in rows] == [f"syn-{n + 1:04d}" for n in range(N_ALBUMS)]
    assert all(row["split"] == "" for row in rows)


def test_tracks_are_music_to_a_decoder(manifest: Path, rows: list[dict[str, str]]) -> None:
    forms = set()
    for path in _paths(rows, "audio"):
        samples, sample_rate_hz = soundfile.read(manifest.parent / path, always_2d=True)
        forms.add((Path(path).suffix, sample_rate_hz, samples.shape[1]))
        assert len(samples) >= 15 * sample_rate_hz
        assert np.isfinite(samples).all()
        assert np.sqrt(np.mean(samples**2)) > 0.005
        assert np.abs(samples).max() <= 1.1  # lossy codecs overshoot a little
    assert {suffix for suffix, _, _ in forms} == {".mp3", ".ogg", ".flac", ".wav"}
    assert {form[1:] for form in forms} == {(22_050, 1), (44_100, 2)}


def test_covers_open(manifest: Path, rows: list[dict[str, str]]) -> None:
    for path in _paths(rows, "image"):
        with Image.open(manifest.parent / path) as image:
            image.load()
            assert min(image.size) >= 200
            assert np.asarray(image.convert("RGB")).std() > 5


def test_reviews_are_dated_from_the_oldest_on(manifest: Path, rows: list[dict[str, str]]) -> None:
    for row in rows:
        texts = [(manifest.parent / path).read_text("utf-8") for path in _paths([row], "text_file")]
        dates = [text.splitlines()[0] for text in texts]
        assert dates == sorted(dates)
        assert not (texts and row["text"])
        for text in [*texts, row["text"]]:
            assert not text or 40 <= len(text.split()) <= 125


def test_the_same_recording_is_not_made_twice(manifest: Path) -> None:
    contents = list(_contents(manifest.parent).values())
    assert len(set(contents)) == len(contents)


def test_every_style_in_the_table_exists() -> None:
    assert {genre_of(label) for label in SUBGENRES} == set(GENRES)
    assert all({*genre.related} < {*GENRES} for genre in GENRES.values())
    assert len(GENRES) == 8
    audio = {f"{GENRES[genre_of(label)].audio}.{sub.audio}" for label, sub in SUBGENRES.items()}
    assert audio == set(STYLES)
    assert {genre.text for genre in GENRES.values()} == set(THINGS) == set(QUALITIES)
    assert {genre.image for genre in GENRES.values()} == set(PALETTES) == set(LETTERING)
    assert {subgenre.image for subgenre in SUBGENRES.values()} == set(MOTIFS)


def test_every_instrument_and_drum_exists() -> None:
    for style in STYLES.values():
        assert {part[0] for part in (style.bass, style.chords, style.lead)} <= set(INSTRUMENTS)
        assert {f"{style.kit} {drum}" for drum in style.drums} <= set(DRUMS)


def test_no_two_genres_share_a_family_in_two_modalities() -> None:
    for name, own in GENRES.items():
        shared = [
            sum(a == b for a, b in zip(own[:3], other[:3], strict=True))
            for genre, other in GENRES.items()
            if genre != name
        ]
        assert max(shared) == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_plan_has_the_promised_shares(seed: int) -> None:
    albums = plan_albums(seed, 240)
    mains = Counter(genre_of(album.labels[0]) for album in albums)
    assert min(mains.values()) >= 14
    assert max(mains.values()) == 4 * min(mains.values())
    assert min(Counter(album.labels[0] for album in albums).values()) >= 4
    assert all(set(album.labels) <= set(SUBGENRES) for album in albums)
    assert all(len(set(album.labels)) == len(album.labels) for album in albums)
    assert 0.3 < np.mean([len(album.labels) > 1 for album in albums]) < 0.5
    assert 1.3 < np.mean([album.n_tracks for album in albums]) < 1.7
    assert max(Counter(album.artist for album in albums).values()) <= 4
    for modality in MODALITIES:
        missing = np.mean([not album.wears[modality] for album in albums])
        assert abs(missing - MISSING_SHARE[modality]) < 0.06
    assert all(any(album.wears.values()) for album in albums)


@pytest.mark.parametrize(("name", "value"), [("seed", -1), ("n_albums", 0), ("workers", 0)])
def test_a_number_out_of_range_is_refused(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name}: {value} is too small"):
        make_catalogue(tmp_path, **{"n_albums": 1, name: value})  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        make_catalogue(tmp_path, n_albums=1)


def test_the_cache_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path / "cache"))
    calls: list[tuple[str, int, int]] = []
    manifest = built_in_catalogue(n_albums=2, progress=lambda *done: calls.append(done))
    assert calls == [("making the catalogue", 1, 2), ("making the catalogue", 2, 2)]
    assert manifest.is_relative_to(tmp_path / "cache")
    made_at = manifest.stat().st_mtime_ns
    assert built_in_catalogue(n_albums=2, progress=lambda *done: calls.append(done)) == manifest
    assert len(calls) == 2
    assert manifest.stat().st_mtime_ns == made_at
    assert built_in_catalogue(n_albums=1) != manifest


def test_an_interrupted_making_is_never_taken_for_a_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path))

    def interrupt(task: str, n_done: int, n: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built_in_catalogue(n_albums=2, progress=interrupt)
    assert list(tmp_path.iterdir()) == []  # it tidied up

    # A killed process cannot tidy up.
    name = f"synthetic-v{GENERATOR_VERSION}-seed0-2"
    stale = tmp_path / f"{name}.making-killed" / name
    stale.mkdir(parents=True)
    (stale / "manifest.csv").write_text("half of one")
    manifest = built_in_catalogue(n_albums=2)
    assert stale not in manifest.parents
    assert len(manifest.read_text("utf-8").splitlines()) == 3


def test_who_comes_second_takes_the_first_ones_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path))
    first: list[Path] = []

    def overtake(task: str, n_done: int, n: int) -> None:
        if not first:
            first.append(tmp_path)
            first.append(built_in_catalogue(n_albums=1))

    second = built_in_catalogue(n_albums=1, progress=overtake)
    assert second == first[1]
    assert list(tmp_path.iterdir()) == [second.parent]


def test_a_folder_in_the_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path))
    manifest = built_in_catalogue(n_albums=1)
    manifest.unlink()
    with pytest.raises(FileExistsError, match=r"manifest\.csv is missing\); delete it"):
        built_in_catalogue(n_albums=1)


def test_ogg_checksum_is_the_one_libsndfile_writes(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.ogg", np.zeros(100), 22_050)
    stream = (tmp_path / "tone.ogg").read_bytes()
    page = bytearray(stream[: 28 + stream[27]])  # the first page holds one short segment
    stored = int.from_bytes(page[22:26], "little")
    page[22:26] = bytes(4)
    assert _ogg_crc(bytes(page)) == stored
