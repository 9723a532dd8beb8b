"""What is asked of a model: items whose files are there."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from mmgenre.errors import InputError
from mmgenre.fusion.prediction import check_is_there
from mmgenre.items.item import Item


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_a_file_is_there_under_either_form_of_its_name(
    tmp_path: Path, on_disk: Literal["NFC", "NFD"], asked: Literal["NFC", "NFD"]
) -> None:
    (tmp_path / unicodedata.normalize(on_disk, "Café.mp3")).touch()
    file = tmp_path / unicodedata.normalize(asked, "Café.mp3")
    check_is_there(Item("1", media={"audio": (file,)}))
    gone = tmp_path / unicodedata.normalize(asked, "Thé.mp3")
    with pytest.raises(InputError, match="no such file"):
        check_is_there(Item("1", media={"audio": (gone,)}))
