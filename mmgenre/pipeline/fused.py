"""What `fuse` returns, as a prompt and a notebook show it."""

from __future__ import annotations

from typing import Any, cast

from mmgenre.measuring.frames import to_frame
from mmgenre.measuring.results import FusionResult


class Fused(dict[str, Any]):
    """A `FusionResult`: a dict in every other respect."""

    def __repr__(self) -> str:
        """`Fused('multi-logistic-a+t', 7 rows, 24 genres; Audio + text: macro ROC-AUC ...)`."""
        from mmgenre.report.tables import headline  # jinja and matplotlib, as below

        result = cast(FusionResult, self)
        counts = f"{len(result['rows'])} rows, {len(result['labels']):,} genres"
        return f"{type(self).__name__}({result['name']!r}, {counts}; {headline(result)})"

    def to_frame(self) -> Any:
        """Every figure as a row of a data frame; see `mmgenre.to_frame`."""
        return to_frame(self)

    def _repr_html_(self) -> str:
        from mmgenre.report.notebook import fusion_html  # matplotlib: not where nothing is shown

        return fusion_html(cast(FusionResult, self))


def fused(result: FusionResult) -> FusionResult:
    """The result, of which a notebook shows a verdict and a small table."""
    return cast(FusionResult, Fused(result))
