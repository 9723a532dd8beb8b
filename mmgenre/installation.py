"""Which package is to blame for a failed import, and what installs it.

Needs the standard library alone: it has to work where nothing else does.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

MODULES = {
    "pillow": "PIL",
    "pyahocorasick": "ahocorasick",
    "scikit-learn": "sklearn",
}  # of packages that are imported under another name


TOGETHER = ("torch", "torchvision")  # one of them alone may not fit the other


def requirements() -> dict[str, str]:
    """Package -> what pip needs to install it, as `numpy>=2`; extras apart.

    PackageNotFoundError if mmgenre itself is not installed.
    """
    needed = [line for line in requires("mmgenre") or () if "extra ==" not in line]
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in needed]
    return dict(zip(names, needed, strict=True))


def module_of(package: str) -> str:
    """The module that a package is imported by.

    >>> module_of("scikit-learn"), module_of("sentence-transformers")
    ('sklearn', 'sentence_transformers')
    """
    return MODULES.get(package.lower(), package.lower().replace("-", "_"))


def admits(specifier: str, found: str) -> bool:
    """Whether a version is one of those that `>=2.11,<2.16`, `==2.11.*` or `==2.11.0` admit.

    What follows the numbers of a version (`+cpu`, `rc1`) does not count.

    >>> admits(">=2.11,<2.16", "2.15.0+cu130"), admits(">=2.11,<2.16", "2.16.0")
    (True, False)
    """
    have = _numbers(found)
    for part in specifier.replace(" ", "").strip("()").split(","):
        relation, wanted = re.fullmatch(r"([<>=!~]*)(.*)", part).groups()  # type: ignore[union-attr]
        limit = _numbers(wanted.removesuffix(".*"))
        length = len(limit) if wanted.endswith(".*") else max(len(limit), len(have))
        a, b = (numbers + [0] * (length - len(numbers)) for numbers in (have, limit))
        a = a[:length]
        fits = {"": True, ">=": a >= b, "<": a < b, "==": a == b, "!=": a != b, ">": a > b,
                "<=": a <= b, "~=": a >= b and a[: len(limit) - 1] == limit[:-1]}  # fmt: skip
        if not fits[relation]:
            return False
    return True


def _numbers(version: str) -> list[int]:
    """The release numbers of a version: 2.11.0+cpu -> 2, 11, 0."""
    found = re.match(r"\d+(\.\d+)*", version)
    return [int(part) for part in found[0].split(".")] if found else []


def torch_for(package: str) -> str | None:
    """Which torch an installed package says that it fits, `==2.11.0`; None: it does not say."""
    for line in requires(package) or ():
        if (found := re.match(r"torch(?![A-Za-z0-9._-])\s*([^;]*)", line)) and found[1].strip():
            return found[1].strip().strip("()").replace(" ", "")
    return None


def torch_faults() -> list[str]:
    """What of torch, torchvision and (where it is installed) torchaudio does not fit together.

    PackageNotFoundError if torch or torchvision is not installed.
    """
    torch, faults = version("torch"), []
    for package in ("torchvision", "torchaudio"):
        try:
            found = version(package)
        except PackageNotFoundError:
            if package in TOGETHER:
                raise
            continue  # nothing here needs it
        wanted = torch_for(package)
        if wanted is not None and not admits(wanted, torch):
            faults.append(f"{package} {found} is made for torch {wanted}, and torch is {torch}")
    return faults


def explanation(error: BaseException) -> str | None:
    """A sentence on the package whose import failed, and how to mend it; None: no import failed."""
    needed = {module_of(package): requirement for package, requirement in requirements().items()}
    missing = isinstance(error, ModuleNotFoundError) and _top(error.name)
    if missing in needed:
        return f"{missing} is not installed: pip install '{needed[missing]}'"
    for module in _importing(error):
        if module in needed:
            return (
                f"{module} cannot be imported ({type(error).__name__}: {error}): "
                f"pip install --force-reinstall '{needed[module]}'"
            )
    return None


def _importing(error: BaseException) -> Iterator[str]:
    """Modules that were being imported when it failed, the innermost first."""
    if isinstance(error, ImportError):
        yield _top(error.name)
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_code.co_name == "<module>":
            yield _top(frame.f_globals.get("__name__"))


def _top(name: str | None) -> str:
    return (name or "").partition(".")[0]
