"""What `fuse` returns, as a notebook shows it."""

from __future__ import annotations

from typing import Any, cast

from mmgenre.measuring.results import FusionResult


class Fused(dict[str, Any]):
    """A `FusionResult`: a dict in every other respect."""

    def _repr_html_(self) -> str:
        from mmgenre.report.notebook import fusion_html  # matplotlib: not where nothing is shown

        return fusion_html(cast(FusionResult, self))


def fused(result: FusionResult) -> FusionResult:
    """The result, of which a notebook shows a verdict and a small table."""
    return cast(FusionResult, Fused(result))
