"""Writes the files of the catalogue, and keeps a finished catalogue in the cache."""

import csv
import os
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import soundfile
from numpy.random import Generator, default_rng

from mmgenre.datasets.synthetic.covers import save_cover
from mmgenre.datasets.synthetic.music import SAMPLE_RATE_HZ, render_track
from mmgenre.datasets.synthetic.plan import GENRES, SUBGENRES, Album, genre_of, plan_albums
from mmgenre.datasets.synthetic.reviews import write_reviews
from mmgenre.disk.files import cache_folder
from mmgenre.progress import Progress, silent

# Part of the cache's folder name: raise it whenever the contents of a file change.
GENERATOR_VERSION = 3

COLUMNS = ("id", "artist", "album", "split", "labels", "audio", "image", "text_file", "text")
DURATION_S = (16.0, 18.0)
# By album number; + means 44.1 kHz and stereo. Only one of 24 is a stereo mp3: encoding it takes
# ten times as long as making its music.
AUDIO_FORMATS = (
    "mp3 flac+ ogg wav flac+ ogg mp3 flac+ wav ogg flac+ wav "
    "mp3 flac+ ogg wav flac+ ogg mp3 flac+ wav ogg mp3+ wav"
)
INLINE_TEXT_SHARE = 0.12
N_REVIEWS = (1, 3)
BIT_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def make_catalogue(
    folder: Path,
    *,
    seed: int = 0,
    n_albums: int = 240,
    workers: int | None = None,
    progress: Progress = silent,
) -> Path:
    """Writes the catalogue into an empty or new folder; returns the path of its manifest.csv.

    The files depend only on `seed` and `n_albums`. The manifest is written last. A ValueError if a
    number is out of range, a FileExistsError if the folder has something in it.
    """
    workers = workers if workers is not None else os.cpu_count() or 1
    limits = {"seed": (seed, 0), "n_albums": (n_albums, 1), "workers": (workers, 1)}
    for name, (value, least) in limits.items():
        if value < least:
            raise ValueError(f"{name}: {value} is too small, at least {least} is needed")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder}: is not empty; give a new folder, or empty this one")
    for name in ("audio", "images", "reviews"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    albums = plan_albums(seed, n_albums)
    # Threads suffice: the time goes into encoders and array arithmetic, which release the lock.
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_write_album, folder, album, seed) for album in albums]
        try:
            for n_done, future in enumerate(as_completed(futures), start=1):
                future.result()
                progress("making the catalogue", n_done, n_albums)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    manifest = folder / "manifest.csv"
    with manifest.open("w", encoding="utf-8", newline="") as file:
        rows = [COLUMNS, *(future.result() for future in futures)]
        csv.writer(file, lineterminator="\n").writerows(rows)
    return manifest


def built_in_catalogue(
    seed: int = 0, n_albums: int = 240, *, workers: int | None = None, progress: Progress = silent
) -> Path:
    """The manifest.csv of the cached catalogue; made on first use, in less than a minute.

    A FileExistsError if the cache has a folder of that name that is not a complete catalogue.
    """
    name = f"synthetic-v{GENERATOR_VERSION}-seed{seed}-{n_albums}"
    folder = cache_folder(name)
    manifest = folder / "manifest.csv"
    if manifest.exists():
        return manifest
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Renamed only when complete: an interruption leaves no folder of this name.
    with tempfile.TemporaryDirectory(
        prefix=f"{name}.making-", dir=folder.parent, ignore_cleanup_errors=True
    ) as making:
        made = Path(making, name)
        make_catalogue(made, seed=seed, n_albums=n_albums, workers=workers, progress=progress)
        try:
            made.rename(folder)
        except OSError:
            # Another process may have finished first; its files are the same.
            if not manifest.exists():
                fault = "exists and is no complete catalogue (manifest.csv is missing); delete it"
                raise FileExistsError(f"{folder}: {fault}") from None
    return manifest


def _write_album(folder: Path, album: Album, seed: int) -> list[str]:
    """Writes the album's media; returns the cells of its row of the manifest."""
    audio_rng, text_rng, image_rng = (default_rng((seed, album.number, i)) for i in range(3))
    tracks = _write_tracks(folder, album, audio_rng)
    styles = [f"{GENRES[genre_of(n)].image}.{SUBGENRES[n].image}" for n in album.wears["image"]]
    stem = folder / "images" / album.id
    covers = [save_cover(styles, album.artist, album.title, image_rng, stem)] if styles else []
    texts, text = _write_texts(folder, album, text_rng)
    cells = [
        ";".join(path.relative_to(folder).as_posix() for path in paths)
        for paths in (tracks, covers, texts)
    ]
    return [album.id, album.artist, album.title, "", ";".join(album.labels), *cells, text]


def _write_tracks(folder: Path, album: Album, rng: Generator) -> list[Path]:
    styles = [f"{GENRES[genre_of(n)].audio}.{SUBGENRES[n].audio}" for n in album.wears["audio"]]
    formats = AUDIO_FORMATS.split()
    suffix, plus, _ = formats[album.number % len(formats)].partition("+")
    tracks = [f"{album.id}-{track}.{suffix}" for track in range(album.n_tracks if styles else 0)]
    paths = [folder / "audio" / track for track in tracks]
    for path in paths:
        samples = render_track(styles, rng, rng.uniform(*DURATION_S), stereo=bool(plus))
        sample_rate_hz = SAMPLE_RATE_HZ * (2 if plus else 1)
        with soundfile.SoundFile(path, "w", sample_rate_hz, samples.shape[1]) as file:
            # In blocks: libsndfile's Vorbis encoder puts a whole write on the thread's small stack.
            for first in range(0, len(samples), 1 << 14):
                file.write(samples[first : first + (1 << 14)])
        if suffix == "ogg":
            path.write_bytes(_with_ogg_serial(path.read_bytes(), serial=1))
    return paths


def _write_texts(folder: Path, album: Album, rng: Generator) -> tuple[list[Path], str]:
    """Review files and inline text: the one, the other or neither."""
    styles = album.wears["text"]
    if not styles:
        return [], ""
    inline = rng.random() < INLINE_TEXT_SHARE
    n_reviews = 1 if inline else int(rng.integers(N_REVIEWS[0], N_REVIEWS[1] + 1))
    reviews = write_reviews(styles, album.artist, album.title, rng, n_reviews)
    if inline:
        return [], " ".join(reviews[0].split())
    paths = [folder / "reviews" / f"{album.id}-{i}.txt" for i in range(n_reviews)]
    for path, review in zip(paths, reviews, strict=True):
        path.write_text(review, encoding="utf-8", newline="\n")
    return paths, ""


def _with_ogg_serial(stream: bytes, serial: int) -> bytes:
    """The Ogg stream with a fixed serial number instead of one of the clock; RFC 3533, sec. 6."""
    pages = bytearray(stream)
    start = 0
    while start < len(pages):
        n_segments = pages[start + 26]
        end = start + 27 + n_segments + sum(pages[start + 27 : start + 27 + n_segments])
        pages[start + 14 : start + 18] = serial.to_bytes(4, "little")
        pages[start + 22 : start + 26] = bytes(4)
        pages[start + 22 : start + 26] = _ogg_crc(bytes(pages[start:end])).to_bytes(4, "little")
        start = end
    return bytes(pages)


def _ogg_crc(page: bytes) -> int:
    """Ogg's CRC-32: zlib's, with the bits of every byte and of the result in reverse order.

    >>> hex(_ogg_crc(b"123456789"))  # CRC-32/MPEG-2's polynomial, but starting from 0
    '0x89a1897f'
    """
    # zlib inverts its start value and its result; this undoes both.
    reflected = zlib.crc32(page.translate(BIT_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
