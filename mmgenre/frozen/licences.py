"""What licences of models allow, and which of several is the strictest; no advice of a lawyer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# From the freest to the strictest, by what the hub calls licences; the first that fits a whole name
# counts. Whoever states none grants nothing.
TERMS: tuple[tuple[str, str], ...] = (
    ("free to use", r"apache-.*|mit|bsd.*|isc|cc0.*|unlicense|wtfpl|zlib|cc-by-\d.*|cc-by"),
    (
        "changed works under the same terms",
        r"cc-by-sa.*|l?gpl.*|agpl.*|mpl.*|epl.*|osl.*|cdla-sha.*",
    ),
    ("terms of its own", r"(?!.*(-nc|non-?commercial|research|not stated)).*"),
    ("not for commercial use", r".*(-nc|non-?commercial|research).*"),
    ("no licence stated", r"not stated"),
)
NOT_STATED = "not stated"


def name_of(licence: str | None) -> str:
    """A licence as it is written in notes and folders."""
    return licence or NOT_STATED


def strictness(licence: str | None) -> int:
    """The place of a licence in `TERMS`.

    >>> [strictness(name) for name in ("mit", "agpl-3.0", "dinov3-license", "cc-by-nc-4.0", None)]
    [0, 1, 2, 3, 4]
    """
    name = name_of(licence).lower()
    return next(k for k, (_, pattern) in enumerate(TERMS) if re.fullmatch(pattern, name))


def strictest(licences: Iterable[str | None]) -> str | None:
    """The licence that a work made with several of them is under; None: there is none at all.

    >>> strictest(["apache-2.0", "cc-by-nc-4.0", "mit"]), strictest(["mit", None]), strictest([])
    ('cc-by-nc-4.0', 'not stated', None)
    """
    return max(map(name_of, licences), key=strictness, default=None)


def terms(licence: str | None) -> str:
    """What a licence means for those who use what was made, in a few words."""
    return TERMS[strictness(licence)][0]


def of_models(models: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What is stored of the models (`Place.about`) that something was made with; {} of none."""
    found = {about["model"]: dict(about) for about in models}
    if not found:
        return {}
    whole = strictest(about["licence"] for about in found.values())
    return {"models": list(found.values()), "licence": whole}
