"""Writes the catalogue's files, and keeps a made catalogue in the cache."""

import csv
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import soundfile

from mmgenre.datasets.synthetic.covers import draw_cover, save_cover
from mmgenre.datasets.synthetic.instruments import SAMPLE_RATE_HZ, FloatArray
from mmgenre.datasets.synthetic.music import render_track
from mmgenre.datasets.synthetic.plan import Album, plan_albums
from mmgenre.datasets.synthetic.reviews import write_reviews
from mmgenre.datasets.synthetic.taxonomy import SUBGENRES
from mmgenre.disk.files import cache_folder
from mmgenre.items.manifest import MODALITIES

GENERATOR_VERSION = 3  # part of the cache's folder name: raise it whenever any file comes out anew

COLUMNS = ("id", "artist", "album", "split", "labels", "audio", "image", "text_file", "text")
DURATION_S = (16.0, 18.0)
# By album number; + means 44.1 kHz and stereo. One stereo mp3 in 24: encoding it takes ten times as
# long as making its music.
AUDIO_FORMATS = (
    "mp3 flac+ ogg wav flac+ ogg mp3 flac+ wav ogg flac+ wav "
    "mp3 flac+ ogg wav flac+ ogg mp3 flac+ wav ogg mp3+ wav"
)
INLINE_TEXT_SHARE = 0.12
N_REVIEWS = (1, 3)

Progress = Callable[[int, int], None]


def make_catalogue(
    folder: Path,
    *,
    seed: int = 0,
    n_albums: int = 240,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Writes the catalogue into an empty or new folder; returns the path of its manifest.csv.

    The files depend on `seed` and `n_albums` alone. `progress` is called with the numbers of albums
    made and of all albums. The manifest is written last.

    Raises:
        ValueError: a number out of range.
        FileExistsError: the folder has something in it.
    """
    workers = workers if workers is not None else os.cpu_count() or 1
    for name, value, least in (
        ("seed", seed, 0),
        ("n_albums", n_albums, 1),
        ("workers", workers, 1),
    ):
        if value < least:
            raise ValueError(f"{name}: {value} is too small, at least {least} is needed")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder}: is not empty; name a new folder, or empty this one")
    for name in ("audio", "images", "reviews"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    albums = plan_albums(seed, n_albums)
    # Threads suffice: the time goes into encoders and array arithmetic, which release the lock.
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_write_album, folder, album, seed) for album in albums]
        try:
            for n_done, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress is not None:
                    progress(n_done, n_albums)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    manifest = folder / "manifest.csv"
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(future.result() for future in futures)
    return manifest


def built_in_catalogue(
    seed: int = 0,
    n_albums: int = 240,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """The cached catalogue's manifest.csv; made on first use, in less than a minute.

    Raises:
        FileExistsError: the cache holds a folder of that name that is no catalogue.
    """
    name = f"synthetic-v{GENERATOR_VERSION}-seed{seed}-{n_albums}"
    folder = cache_folder(name)
    manifest = folder / "manifest.csv"
    if manifest.exists():
        return manifest
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Renamed only when complete: an interrupted making leaves no folder of this name.
    making = Path(tempfile.mkdtemp(prefix=f"{name}.making-", dir=folder.parent))
    try:
        made = making / name
        make_catalogue(made, seed=seed, n_albums=n_albums, workers=workers, progress=progress)
        try:
            made.rename(folder)
        except OSError:
            # Another process may have been quicker; its files are the same.
            if not manifest.exists():
                raise FileExistsError(
                    f"{folder}: is in the way and is no complete catalogue (manifest.csv is "
                    "missing); delete it"
                ) from None
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return manifest


def _write_album(folder: Path, album: Album, seed: int) -> dict[str, str]:
    """Writes the album's media; returns its row of the manifest."""
    audio_rng, text_rng, image_rng = (
        np.random.default_rng((seed, album.number, stream)) for stream in range(len(MODALITIES))
    )
    text_files, text = _write_texts(folder, album, text_rng)
    return {
        "id": album.id,
        "artist": album.artist,
        "album": album.title,
        "split": "",
        "labels": ";".join(album.labels),
        "audio": ";".join(_write_tracks(folder, album, audio_rng)),
        "image": ";".join(_write_cover(folder, album, image_rng)),
        "text_file": ";".join(text_files),
        "text": text,
    }


def _write_tracks(folder: Path, album: Album, rng: np.random.Generator) -> list[str]:
    styles = [SUBGENRES[label].audio for label in album.wears["audio"]]
    if not styles:
        return []
    formats = AUDIO_FORMATS.split()
    audio_format = formats[album.number % len(formats)]
    suffix, stereo = audio_format.rstrip("+"), audio_format.endswith("+")
    names = [f"audio/{album.id}-{track}.{suffix}" for track in range(album.n_tracks)]
    for name in names:
        samples = render_track(styles, rng, rng.uniform(*DURATION_S), stereo=stereo)
        _write_audio(folder / name, samples, SAMPLE_RATE_HZ * (2 if stereo else 1))
    return names


def _write_cover(folder: Path, album: Album, rng: np.random.Generator) -> list[str]:
    styles = [SUBGENRES[label].image for label in album.wears["image"]]
    if not styles:
        return []
    image, suffix = draw_cover(styles, album.artist, album.title, rng)
    name = f"images/{album.id}{suffix}"
    save_cover(image, folder / name)
    return [name]


def _write_texts(folder: Path, album: Album, rng: np.random.Generator) -> tuple[Sequence[str], str]:
    """Review files and inline text: the one, the other or neither."""
    if not album.wears["text"]:
        return [], ""
    if rng.random() < INLINE_TEXT_SHARE:
        [review] = write_reviews(album.wears["text"], album.artist, album.title, rng, 1)
        return [], " ".join(review.split())
    n_reviews = int(rng.integers(N_REVIEWS[0], N_REVIEWS[1] + 1))
    reviews = write_reviews(album.wears["text"], album.artist, album.title, rng, n_reviews)
    names = [f"reviews/{album.id}-{i}.txt" for i in range(n_reviews)]
    for name, review in zip(names, reviews, strict=True):
        (folder / name).write_text(review, encoding="utf-8", newline="\n")
    return names, ""


def _write_audio(path: Path, samples: FloatArray, sample_rate_hz: int) -> None:
    """Encodes samples (samples, channels) in the format that the path's suffix names."""
    with soundfile.SoundFile(
        path, "w", samplerate=sample_rate_hz, channels=samples.shape[1]
    ) as file:
        # In blocks: libsndfile's Vorbis encoder puts a whole write on the thread's small stack.
        for first in range(0, len(samples), 1 << 14):
            file.write(samples[first : first + (1 << 14)])
    if path.suffix == ".ogg":
        path.write_bytes(_with_ogg_serial(path.read_bytes(), serial=1))


def _with_ogg_serial(stream: bytes, serial: int) -> bytes:
    """The Ogg stream with a fixed serial number; libsndfile draws one from the clock.

    Reference: RFC 3533, section 6 (page header and checksum).
    """
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


BIT_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_crc(page: bytes) -> int:
    """Ogg's CRC-32: zlib's, with the bits of every byte and of the result in reverse order.

    >>> hex(_ogg_crc(b"123456789"))  # CRC-32/MPEG-2's polynomial, but starting from 0
    '0x89a1897f'
    """
    # zlib inverts its start value and its result; this undoes both.
    reflected = zlib.crc32(page.translate(BIT_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
