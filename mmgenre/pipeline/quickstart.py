"""Everything once, on the built-in catalogue: what `make demo` runs."""

from __future__ import annotations

from pathlib import Path

from mmgenre.learning.processes import by_main
from mmgenre.measuring.results import FusionResult
from mmgenre.pipeline import extract_features, fuse
from mmgenre.pipeline.describing import make_report
from mmgenre.pipeline.run import DEFAULT_RUN
from mmgenre.progress import Progress, silent
from mmgenre.report.page import REPORT


def quickstart(
    run: Path | str = DEFAULT_RUN, *, seeds: int = 3, progress: Progress = silent
) -> tuple[list[FusionResult], Path]:
    """Embeddings of all modalities, three fusions of them, a report.

    The fusions are the many-genre task with both heads, and the one-genre task.

    Returns:
        The fusions' results, and the path of the report.
    """
    extract_features(run=run, recipe="quick", progress=progress)
    results = [
        fuse(run=run, task="single", head="logistic", seeds=seeds, progress=progress),
        fuse(run=run, task="multi", head="logistic", seeds=seeds, progress=progress),
        fuse(run=run, task="multi", head="cosine", seeds=seeds, progress=progress),
    ]
    return results, by_main(lambda: make_report(run, progress=progress), lambda: Path(run) / REPORT)
