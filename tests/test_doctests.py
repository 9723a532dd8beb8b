"""Every example in a docstring of the package runs."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import mmgenre

PACKAGE = Path(mmgenre.__file__).parent
# Only modules with an example are imported: torch and librosa take seconds.
WITH_EXAMPLES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert failed == 0, f"{failed} of {tried} examples in {name}; see above"
    assert tried > 0, f"{name} shows '>>> ' outside a docstring"


def test_modules_with_examples_are_found() -> None:
    assert {"mmgenre.items.labels", "mmgenre.items.modalities", "mmgenre.items.names"} <= set(
        WITH_EXAMPLES
    )
