"""The user's audio and covers, found by the ids of a published dataset."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_layouts import by_id, make_msdi, make_mumu, noted, touch

from mmgenre.datasets.build import attach_media
from mmgenre.datasets.msd import read_msdi
from mmgenre.datasets.mumu import read_mumu
from mmgenre.errors import ManifestError


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
