"""The user's audio and covers, found by the ids of a published dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from published_layouts import by_id, make_msdi, make_mumu, noted, touch

from mmgenre.audio.decoding import load_audio
from mmgenre.datasets.build import attach_media
from mmgenre.datasets.msd import read_msdi
from mmgenre.datasets.mumu import read_mumu
from mmgenre.errors import ManifestError
from mmgenre.image.decoding import FORMATS
from mmgenre.items.modalities import NEED_CODECS, SUFFIXES


def test_media_by_track_and_item(tmp_path: Path) -> None:
    published = read_mumu(make_mumu(tmp_path / "mumu"))
    audio = touch(tmp_path / "audio", "A/B/TRC.mp3", "TRA.clip.OGG", "TRX.wav", "TRB.txt", ".DS")
    images = touch(tmp_path / "images", "B02.jpg")
    attached = attach_media(published, audio=audio, images=images)
    items = by_id(attached)
    assert items["B01"].media["audio"] == (audio / "TRA.clip.OGG", audio / "A/B/TRC.mp3")
    assert items["B01"].media["text"] == ("first", "second", "third")
    assert items["B02"].media == {"image": (images / "B02.jpg",)}
    assert noted(attached, "tracks have no file").startswith("3 of 5 tracks")
    assert noted(attached, "tracks have no file").endswith("2 of 3 items are without audio")
    surplus = "1 file(s) with ids that are not in the dataset, and 1 without the suffix of a track"
    assert surplus in noted(attached, str(audio) + ":")
    assert attached.notes[: len(published.notes)] == published.notes


def test_media_that_fit_nothing_or_twice(tmp_path: Path) -> None:
    published = read_msdi(make_msdi(tmp_path))
    covers = touch(tmp_path / "covers", "cover1.jpg")
    with pytest.raises(
        ManifestError, match=r"named by id and suffix \(first id: 'TRA'\).*first of 1"
    ):
        attach_media(published, images=covers)
    touch(covers, "TRA.jpg", "x/TRA.png")
    with pytest.raises(ManifestError, match="two files for 'TRA'"):
        attach_media(published, images=covers)
    with pytest.raises(ManifestError, match="no such folder"):
        attach_media(published, audio=tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", sorted(SUFFIXES["audio"] - NEED_CODECS))
def test_every_suffix_of_audio_is_found_and_read(tmp_path: Path, suffix: str) -> None:
    formats = {".aif": "AIFF", ".aifc": "AIFF", ".mp2": "MP3", ".mpga": "MP3", ".oga": "OGG"}
    formats |= {".opus": "OGG", ".snd": "AU", ".wave": "WAV"}
    published = read_msdi(make_msdi(tmp_path))
    track = tmp_path / "audio" / f"TRA{suffix.upper()}"
    track.parent.mkdir()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * 48_000)
    subtype = "OPUS" if suffix == ".opus" else None
    soundfile.write(track, noise, 48_000, subtype, format=formats.get(suffix, suffix[1:].upper()))
    assert by_id(attach_media(published, audio=track.parent))["TRA"].media["audio"] == (track,)
    assert len(load_audio(track)) == pytest.approx(2 * 22_050, rel=0.01)


def test_every_suffix_of_covers_can_be_read() -> None:
    known = Image.registered_extensions()
    assert {known[suffix] for suffix in SUFFIXES["image"]} <= set(FORMATS)


def test_what_cannot_be_read_is_not_taken_but_counted(tmp_path: Path) -> None:
    published = read_msdi(make_msdi(tmp_path))
    audio = touch(tmp_path / "audio", "TRA.wav", "TRB.mid", "TRC.mod", "TRD.mid")
    attached = attach_media(published, audio=audio)
    assert "audio" not in by_id(attached)["TRB"].media
    assert noted(attached, str(audio) + ":").endswith("are left out: 2 .mid, 1 .mod")
    (audio / "TRA.wav").unlink()
    with pytest.raises(ManifestError, match=r"others: 2 \.mid, 1 \.mod; suffixes of a track are"):
        attach_media(published, audio=audio)
