"""Commands on experiments: run and plan."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mmgenre.cli.shared import (
    JsonOption,
    SetOption,
    finish,
    main_goes_on,
    print_json,
    print_rich,
    progress_bars,
)
from mmgenre.errors import Refusal

RecipeArgument = Annotated[
    str, typer.Argument(help="An experiment: its name, as oramas2018/table2, or a TOML file.")
]
DatasetOption = Annotated[
    str | None,
    typer.Option("--dataset", help="A manifest, or 'synthetic': the built-in catalogue."),
]
OverlayOption = Annotated[
    str | None,
    typer.Option(help="A recipe laid over it, to run in another size; rows stand above it."),
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder that experiments share.")]
SeedsOption = Annotated[
    int | None, typer.Option(min=1, help="How many of the experiment's seeds; default: all.")
]


def run(
    recipe: RecipeArgument,
    dataset: DatasetOption = None,
    overlay: OverlayOption = None,
    runs: RunsOption = Path("runs"),
    seeds: SeedsOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Runs a whole experiment: every step once, a table with the published figures at the end."""
    from mmgenre.measuring.results import as_json as readable
    from mmgenre.pipeline.grid import prepare_experiment, run_experiment
    from mmgenre.pipeline.tabulating import write_table
    from mmgenre.report.experiment import write_experiment
    from mmgenre.report.published import rich_published

    with progress_bars() as progress:
        prepared = prepare_experiment(
            recipe,
            dataset=dataset,
            overlay=overlay,
            runs=runs,
            seeds=seeds,
            settings=settings or [],
            progress=progress,
        )
        tell = partial(typer.echo, file=sys.stderr)  # which by now writes above the bars
        result = run_experiment(prepared, progress=progress, tell=tell)
    main_goes_on()
    table, page = write_experiment(write_table(result, runs))
    if as_json:
        typer.echo(readable(result))
    else:
        print_rich(rich_published(result))
        typer.echo(table)
        typer.echo(f"page: {page}")
    failed = [f"{row['name']}: {fault}" for row in result["rows"] for fault in row["failed"]]
    for fault in failed:
        typer.secho(f"failed: {fault}", fg=typer.colors.RED, err=True)
    finish([Refusal(**r) for r in result["refused"]], failed=bool(failed))  # type: ignore[arg-type]


def plan(
    recipe: RecipeArgument,
    dataset: DatasetOption = None,
    overlay: OverlayOption = None,
    runs: RunsOption = Path("runs"),
    seeds: SeedsOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lists the steps of an experiment: which are done, what each needs, what is left to pay."""
    from mmgenre.pipeline.costs import describe_plan
    from mmgenre.pipeline.grid import prepare_experiment

    with progress_bars() as progress:
        prepared = prepare_experiment(
            recipe,
            dataset=dataset,
            overlay=overlay,
            runs=runs,
            seeds=seeds,
            settings=settings or [],
            progress=progress,
        )
        described = describe_plan(prepared)
    if as_json:
        print_json(described)
    else:
        from mmgenre.report.published import rich_plan

        print_rich(rich_plan(described))
