"""Which package is to blame for a failed import, and what installs it.

Needs the standard library alone: it has to work where nothing else does.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from importlib.metadata import requires

MODULES = {
    "pillow": "PIL",
    "pyahocorasick": "ahocorasick",
    "scikit-learn": "sklearn",
}  # of packages that are imported under another name


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
