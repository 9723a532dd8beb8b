"""Commands that hand on what a run found: tables for other programs, and what to cite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from mmgenre.cli.shared import DEFAULT_RUN, JsonOption, show

RunArgument = Annotated[Path, Argument(help="Folder of a run.")]


def tables(
    run: RunArgument = DEFAULT_RUN,
    out: Annotated[
        Path | None, Option("--out", help="Folder to write into; default: RUN/tables.")
    ] = None,
    fusion: Annotated[str | None, Option(help="Name of a folder under RUN/fusion.")] = None,
    by: Annotated[
        list[str] | None,
        Option(help="With each item's slice by a column of the manifest; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Writes items.csv, metrics.csv (a value a row), steps.csv, and LaTeX tables."""
    from mmgenre.pipeline.run import open_run
    from mmgenre.pipeline.tidy import write_tables

    written = write_tables(open_run(run), out or run / "tables", fusion, by=by or ())
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


def compare(
    runs: Annotated[list[Path], Argument(help="Folders of two runs or more.")],
    fusion: Annotated[str | None, Option(help="Name of a folder under RUN/fusion.")] = None,
    row: Annotated[
        str | None, Option(help="A row, as A+T; default: the one of most inputs.")
    ] = None,
    on: Annotated[Literal["val", "test"], Option(help="The items that figures are of.")] = "val",
    out: Annotated[Path | None, Option("--out", help="A page to write, as compared.html.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compares runs on the items that all have scored: figures, differences, genres, items."""
    from mmgenre.disk.locks import replacing_alone
    from mmgenre.pipeline.compare import compare as measure
    from mmgenre.report.compare import render_comparison, verdict

    found = measure(runs, fusion=fusion, row=row, on=on)
    metric = found["metric"]
    lines = [
        f"{verdict(found)}",
        f"{found['n_items']:,} items of {on}, {found['n_groups']:,} artists; {metric}",
    ]
    for side in found["sides"]:
        low, high = side["interval"] or (float("nan"), float("nan"))
        value = side["figures"].get(metric, float("nan"))
        lines.append(f"  {side['name']:24} {side['row']:12} {value:.3f} ({low:.3f} to {high:.3f})")
    lines += [
        f"  {d['a']} less {d['b']}: {d['value']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f}), "
        f"{d['verdict']}"
        for d in found["differences"]
    ]
    if out is not None:
        with replacing_alone(out) as temporary:
            temporary.write_text(render_comparison(found), encoding="utf-8")
        lines.append(f"page: {out}")
    show(found, lines, as_json=as_json)
