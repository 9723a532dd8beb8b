"""Every reader of strangers' files as a function of bytes, with sound inputs to begin from."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import soundfile
from PIL import Image

from mmgenre.audio.decoding import load_audio
from mmgenre.datasets.features import read_features
from mmgenre.disk.bundle import SUMS, bundle_provenance, read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.disk.store import FeatureStore, content_hash, group_names, store_info, write_store
from mmgenre.errors import MmgenreError
from mmgenre.image.decoding import load_image
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.prepare import prepare_run
from mmgenre.pipeline.recipe import load_recipe, recipe_folder
from mmgenre.pipeline.run import open_run
from mmgenre.text.decoding import load_text

MADE = Provenance("stage", 1, {"a": 1})


@dataclass(frozen=True)
class Reader:
    """Reads the bytes of one file, put where they belong in a folder; its own errors pass."""

    read: Callable[[bytes, Path], object]
    seeds: Callable[[Path], Iterator[bytes]]
    longest: int = 4096  # bytes of an input


def in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def wrote(data: bytes, folder: Path) -> object:
        path = folder / name
        path.write_bytes(data)
        return read(path)

    return wrote


def read_manifest(path: Path) -> None:
    manifest = Manifest.read(path)
    manifest.info()
    again = Manifest.read(manifest.write(path.with_name("again.csv")))
    assert again.ids() == manifest.ids()
    assert again.labels() == manifest.labels()


def manifests(folder: Path) -> Iterator[bytes]:
    header = b"id,artist,album,split,labels,audio,image,text_file,text"
    yield header + b'\na,A,B,train,Jazz/Bop;Rock,a.mp3;b.mp3,c.jpg,d.txt,"x\ny"\n'
    yield b"\xef\xbb\xbfid,labels,note\r\n\xc3\xa9,R&B//Soul,1\r\nb,,\r\n"
    yield b"id\tlabels\na\tRock\n"


def recipes(folder: Path) -> Iterator[bytes]:
    for name in ("default", "quick", "synthetic"):
        yield (recipe_folder() / f"{name}.toml").read_bytes()
    yield b'base = "quick"\nseed = 1\n[text.input]\nmax_characters = 10\n[[by_size]]\nup_to = 3\n'


def read_store(path: Path) -> None:
    for name in group_names(path):
        with FeatureStore(path, name) as store:
            for item_id in store.ids:
                store.read(item_id)
            store.verify()
    store_info(path)
    content_hash(path)


def stores(folder: Path) -> Iterator[bytes]:
    # Chunks of some bytes, or most of a file would be room to spare.
    with patch("mmgenre.disk.store.layout.CHUNK_BYTES", 64):
        path = folder / "seed.h5"
        rows = np.arange(12, dtype=np.float32).reshape(4, 3)
        write_store(path, "v", [([*"abcd"], rows)], MADE)
        yield path.read_bytes()
        write_store(path, "r", [([*"ab"], [rows[:1], rows[:3]])], MADE, ragged=True)
        yield path.read_bytes()


def read_model(data: bytes, folder: Path) -> None:
    """The first byte says which of the files the rest is; the list of hashes is made to fit."""
    target = folder / "bundle"
    if not target.exists():
        import torch  # seconds, which no other reader needs

        weights = {"w": torch.arange(6.0).reshape(2, 3)}
        write_bundle(target, "k", {"x": 1}, weights, MADE, files={"vocab.json": ["a"]})
        (folder / "whole").mkdir()
        for path in target.iterdir():
            (folder / "whole" / path.name).write_bytes(path.read_bytes())
    for path in (folder / "whole").iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    names = sorted(path.name for path in target.iterdir())
    changed = target / names[data[0] % len(names)] if data else target / SUMS
    changed.write_bytes(data[1:])
    if changed.name != SUMS:
        sums = {path.name: sha256_file(path) for path in target.iterdir() if path.name != SUMS}
        (target / SUMS).write_text(json.dumps(sums))
    bundle_provenance(target)
    read_bundle(target, "k")


def models(folder: Path) -> Iterator[bytes]:
    own = folder / "seeds"
    own.mkdir()
    with suppress(MmgenreError, LookupError):
        read_model(b"", own)
    for k, path in enumerate(sorted((own / "whole").iterdir())):
        yield bytes([k]) + path.read_bytes()


def read_run(data: bytes, folder: Path) -> None:
    (folder / "run.json").write_bytes(data)
    if not (folder / "manifest.csv").exists():
        (folder / "manifest.csv").write_bytes(next(manifests(folder)))
    opened = open_run(folder)
    print(opened.refused, opened.given, file=io.StringIO())


def runs(folder: Path) -> Iterator[bytes]:
    path = folder / "m.csv"
    rows = [f"{k},{split},Rock" for k, split in enumerate(("train", "val", "test"))]
    path.write_text("\n".join(["id,split,labels", *rows]), encoding="utf-8")
    prepare_run(folder / "run", manifest=path, recipe="quick")
    yield (folder / "run" / "run.json").read_bytes()


def archives(folder: Path) -> Iterator[bytes]:
    buffer = io.BytesIO()
    np.savez(buffer, ids=np.array([*"ab"]), x=np.ones((2, 3), np.float32))
    yield buffer.getvalue()


def texts(folder: Path) -> Iterator[bytes]:
    text = "A fine record &amp; <br/> “quoted”, Grüße, 這張專輯. &#34;x&#34; &lt;p&gt;"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        yield text.encode(encoding)


def images(folder: Path) -> Iterator[bytes]:
    pixels = np.random.default_rng(0).integers(0, 255, (12, 9, 4), np.uint8)
    for kind, mode, how in (
        ("PNG", "RGBA", {}), ("PNG", "P", {}), ("PNG", "L", {}), ("JPEG", "RGB", {}),
        ("JPEG", "L", {"progressive": True}), ("JPEG", "CMYK", {}), ("GIF", "P", {}),
        ("WEBP", "RGB", {}), ("BMP", "RGB", {}), ("TIFF", "RGB", {}), ("PPM", "RGB", {}),
        ("JPEG2000", "RGB", {}),
    ):  # fmt: skip
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(buffer, kind, **how)
        yield buffer.getvalue()


def sounds(folder: Path) -> Iterator[bytes]:
    samples = 0.3 * np.sin(np.arange(9600) / 5)  # 1.2 s
    for kind, subtype in (
        ("WAV", "PCM_16"), ("WAV", "MS_ADPCM"), ("AIFF", "PCM_16"),
        ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
        ("AU", "PCM_16"), ("CAF", "PCM_16"), ("W64", "PCM_16"), ("RF64", "PCM_16"),
    ):  # fmt: skip
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, 8000, format=kind, subtype=subtype)
        yield buffer.getvalue()


READERS = {
    "manifest": Reader(in_file("m.csv", read_manifest), manifests),
    "recipe": Reader(in_file("own.toml", lambda path: load_recipe(str(path))), recipes),
    "run": Reader(read_run, runs, 8192),
    "store": Reader(in_file("a.h5", read_store), stores, 40_000),
    "bundle": Reader(read_model, models),
    "features": Reader(in_file("v.npz", read_features), archives),
    "text": Reader(in_file("t.txt", lambda path: load_text([path])), texts),
    "image": Reader(in_file("cover.jpg", load_image), images),
    "audio": Reader(in_file("track.wav", load_audio), sounds, 20_000),
}
