"""Imports point down only: every module stands in a room, and uses rooms below its own."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import mmgenre

PACKAGE = Path(mmgenre.__file__).parent

# Top to bottom. A name stands for a module or for a package with all its modules; modules of one
# room may use each other, but not in a circle. "mmgenre" is what the package itself offers.
ROOMS: tuple[frozenset[str], ...] = tuple(
    frozenset(room.split())
    for room in (
        "mmgenre cli __main__ doctor",
        "pipeline",
        "report explain serving",
        "fusion",
        "reading kinds",
        "datasets",
        "audio text image",
        "frozen",
        "learning",
        "measuring",
        "items",
        "disk",
        "workers config progress errors signals installation",
    )
)
RANK = {name: len(ROOMS) - k for k, room in enumerate(ROOMS) for name in room}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room(module: str) -> str:
    """mmgenre.audio.decoding -> inputs."""
    return module.split(".")[1] if "." in module else module


def rank(name: str) -> int:
    if name not in RANK:
        pytest.fail(f"module {name!r} stands in no room: give it one in {__file__}, ROOMS")
    return RANK[name]


def imports(source: str, module: str, *, is_package: bool = False) -> set[str]:
    """The modules of mmgenre that a source uses, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module.split(".")
                kept = here[: len(here) - node.level + is_package]
                base = ".".join([*kept, base] if base else kept)
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.add(whole if whole in MODULES else base)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            found |= {
                a.value
                for a in node.args[:1]
                if isinstance(a, ast.Constant) and isinstance(a.value, str)
            }
    return {name for name in found if name.split(".")[0] == "mmgenre"}


def used_by(module: str) -> set[str]:
    path = MODULES[module]
    source = path.read_text(encoding="utf-8")
    return imports(source, module, is_package=path.name == "__init__.py") - {module}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    upward = [
        f"{module} uses {used}: {room(used)!r} stands above {room(module)!r}"
        for used in sorted(used_by(module))
        if rank(room(used)) > rank(room(module))
    ]
    assert not upward, "\n".join(upward)


def test_no_circles() -> None:
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"circle: {' -> '.join([*trail, module])}"
        if module not in done:
            for used in sorted(used_by(module) & MODULES.keys()):
                # A package's __init__ gathers its own modules; their use of it is a real circle.
                visit(used, (*trail, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


def test_every_import_of_ours_exists() -> None:
    unknown = {(m, used) for m in MODULES for used in used_by(m) if used not in MODULES}
    assert not unknown


def test_nobody_imports_the_whole_package_from_inside() -> None:
    """`from mmgenre import Manifest` inside the library would load everything, upwards too."""
    above = RANK["mmgenre"]
    users = {m for m in MODULES if rank(room(m)) < above and "mmgenre" in used_by(m)}
    assert not users


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import mmgenre.disk.store", {"mmgenre.disk.store"}),
        ("import mmgenre.disk.store as s, numpy", {"mmgenre.disk.store"}),
        ("from mmgenre import audio, Manifest", {"mmgenre.audio", "mmgenre"}),
        ("from mmgenre.disk.store import FeatureStore", {"mmgenre.disk.store"}),
        (
            "def f():\n    if True:\n        from mmgenre.disk.store import x",
            {"mmgenre.disk.store"},
        ),
        ("from .cqt import x", {"mmgenre.audio.cqt"}),
        ("from . import cqt", {"mmgenre.audio.cqt"}),
        ("from ..disk import x", {"mmgenre.disk"}),
        ("from .. import disk", {"mmgenre.disk"}),
        ("importlib.import_module('mmgenre.disk.store')", {"mmgenre.disk.store"}),
        ("import numpy, mmgenrex", set()),
    ],
)
def test_this_test_sees_every_kind_of_import(source: str, found: set[str]) -> None:
    assert imports(source, "mmgenre.audio.decoding") == found


def test_relative_imports_of_a_package_start_from_itself() -> None:
    source = "from .cqt import x\nfrom ..disk import y"
    found = imports(source, "mmgenre.audio", is_package=True)
    assert found == {"mmgenre.audio.cqt", "mmgenre.disk"}


def test_foundations_stay_light() -> None:
    """Plain data and pure functions need neither torch nor HDF5."""
    heavy = {"torch", "h5py", "librosa", "sklearn", "sentence_transformers", "pydantic"}
    manifests = (f"items.{name}" for name in ("item", "columns", "read_csv", "manifest"))
    foundations = (*manifests, "items.labels", "items.splits", "disk.provenance")
    for name in (
        "errors",
        *foundations,
        "measuring.metrics",
        "measuring.results",
        "measuring.differences",
    ):
        tree = ast.parse(MODULES[f"mmgenre.{name}"].read_text(encoding="utf-8"))
        tops = {
            part.split(".")[0]
            for node in ast.walk(tree)
            for part in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not tops & heavy, name
        assert tops <= {*sys.stdlib_module_names, "mmgenre", "numpy", "scipy"}, name
