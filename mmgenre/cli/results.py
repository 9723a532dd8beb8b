"""Commands that hand on what a run found: tables for other programs, and what to cite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from mmgenre.cli.shared import DEFAULT_RUN, JsonOption, show

RunArgument = Annotated[Path, Argument(help="Folder of a run.")]


def tables(
    run: RunArgument = DEFAULT_RUN,
    out: Annotated[
        Path | None, Option("--out", help="Folder to write into; default: RUN/tables.")
    ] = None,
    fusion: Annotated[str | None, Option(help="Name of a folder under RUN/fusion.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Writes items.csv, metrics.csv (a value a row) and a LaTeX table of each fusion."""
    from mmgenre.pipeline.run import open_run
    from mmgenre.pipeline.tidy import write_tables

    written = write_tables(open_run(run), out or run / "tables", fusion)
    show({"run": str(run), "files": list(map(str, written))}, written, as_json=as_json)


def cite(
    run: RunArgument = DEFAULT_RUN,
    dataset: Annotated[
        list[str] | None,
        Option(help="Name of the dataset's card, as mumu, which a manifest does not say."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """BibTeX of what a run used: the method, its dataset, and frozen models."""
    from mmgenre.pipeline.cite import cited
    from mmgenre.pipeline.run import open_run

    found = cited(open_run(run), dataset or ())
    entries = [{"key": e.key, "why": e.why, "bibtex": e.bibtex} for e in found.entries]
    lines = [f"% {e.why}\n{e.bibtex}\n" for e in found.entries]
    lines += [f"% {note}" for note in found.notes]
    content = {"run": str(run), "entries": entries, "notes": list(found.notes)}
    show(content, lines, as_json=as_json)
