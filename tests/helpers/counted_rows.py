"""Which rows of inputs are decoded, while all else goes on as it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmgenre.kinds import KINDS


def count_rows(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that gets the id of each row that this process decodes."""
    seen: list[str] = []
    for medium, kind in list(KINDS.items()):

        def count(media: Sequence[Path | str], config: Any, row_id: str, kind: Any = kind) -> Any:
            seen.append(row_id)
            return kind.read(media, config, row_id)

        monkeypatch.setitem(KINDS, medium, replace(kind, read=count, decode=lambda _: None))
    return seen
