"""Commands on experiments: run and plan; and the benchmark."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

from mmgenre.cli import shared
from mmgenre.errors import Refusal

MOST_NOTES = 20  # lines on stdout; an experiment may have hundreds of networks
RecipeArgument = Annotated[
    str, Argument(help="An experiment: its name, as oramas2018/table2, or a TOML file.")
]
DatasetOption = Annotated[
    str | None, Option("--dataset", help="A manifest, or 'synthetic': the built-in catalogue.")
]
OverlayOption = Annotated[
    str | None, Option(help="A recipe laid over it, to run in another size; rows stand above it.")
]
RunsOption = Annotated[Path, Option("--runs", help="Folder that experiments share.")]
SeedsOption = Annotated[
    int | None, Option(min=1, help="How many of the experiment's seeds; default: all.")
]


def run(
    recipe: RecipeArgument,
    dataset: DatasetOption = None,
    media_root: shared.MediaRootOption = None,
    overlay: OverlayOption = None,
    runs: RunsOption = Path("runs"),
    seeds: SeedsOption = None,
    settings: shared.SetOption = None,
    track: shared.TrackOption = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Runs a whole experiment: every step once, a table with the published figures at the end."""
    from mmgenre.measuring.readable import as_json as readable
    from mmgenre.pipeline.cells import write_table
    from mmgenre.pipeline.grid import prepare_experiment, run_experiment
    from mmgenre.report.experiment import write_experiment
    from mmgenre.report.terminal import rich_published

    how: dict[str, Any] = {"dataset": dataset, "overlay": overlay, "runs": runs, "seeds": seeds}
    how |= {"media_roots": media_root or [], "track": track}
    with shared.progress_bars() as progress:
        prepared = prepare_experiment(recipe, **how, settings=settings or [], progress=progress)
        tell = partial(typer.echo, file=sys.stderr)  # which by now writes above the bars
        result = run_experiment(prepared, progress=progress, tell=tell)
    shared.main_goes_on()
    table, page = write_experiment(write_table(result, runs))
    if as_json:
        typer.echo(readable(result))
    else:
        shared.print_rich(rich_published(result))
        notes = result.get("notes", [])
        lines = [f"note: {note}" for note in notes[:MOST_NOTES]]
        if left := notes[MOST_NOTES:]:
            lines.append(f"{len(left):,} further notes: table.json, beside the table")
        lines += shared.curves_told(prepared.pool) if track else []
        typer.echo("\n".join([*lines, str(table), f"page: {page}"]))
    failed = [f"{row['name']}: {fault}" for row in result["rows"] for fault in row["failed"]]
    for fault in failed:
        typer.secho(f"failed: {fault}", fg=typer.colors.RED, err=True)
    refused = [Refusal(**r) for r in result["refused"]]  # type: ignore[arg-type]
    shared.finish(refused, failed=bool(failed))


def plan(
    recipe: RecipeArgument,
    dataset: DatasetOption = None,
    media_root: shared.MediaRootOption = None,
    overlay: OverlayOption = None,
    runs: RunsOption = Path("runs"),
    seeds: SeedsOption = None,
    settings: shared.SetOption = None,
    as_json: shared.JsonOption = False,
) -> None:
    """Lists the steps of an experiment: which are done, what each needs, what is left to pay."""
    from mmgenre.pipeline.cells import describe_plan
    from mmgenre.pipeline.grid import prepare_experiment
    from mmgenre.report.terminal import rich_plan

    how: dict[str, Any] = {"dataset": dataset, "overlay": overlay, "runs": runs, "seeds": seeds}
    how |= {"media_roots": media_root or []}
    with shared.progress_bars() as progress:
        prepared = prepare_experiment(recipe, **how, settings=settings or [], progress=progress)
        described = describe_plan(prepared)
    if as_json:
        shared.show(described, (), as_json=True)
    else:
        shared.print_rich(rich_plan(described))


def benchmark(
    folders: Annotated[
        list[Path], Argument(help="Folders with manifest-0.csv, manifest-1.csv, manifest-2.csv.")
    ],
    on: Annotated[
        Literal["val", "test"],
        Option(help="The items that figures are of: choose by val, open test once."),
    ] = "val",
    recipe: Annotated[str, Option(help="default, quick, or a TOML file.")] = "default",
    media_root: shared.MediaRootOption = None,
    modalities: shared.ModalitiesOption = "a,t,i",
    runs: Annotated[Path, Option("--runs", help="Folder of the runs.")] = Path("runs/benchmark"),
    peer_scores: Annotated[
        Path | None, Option(help="Folder with NAME.npz, the peers' scores; default: --runs.")
    ] = None,
    seeds: shared.RowSeedsOption = None,
    settings: shared.SetOption = None,
    as_json: shared.JsonOption = False,
) -> None:
    """A recipe on folders of three splits each, beside their peers.json."""
    wanted = shared.modalities_of(modalities)
    from mmgenre.pipeline.benchmark import run_benchmark
    from mmgenre.report.terminal import rich_benchmark

    how: dict[str, Any] = {"on": on, "recipe": recipe, "modalities": wanted, "runs": runs}
    how |= {
        "media_roots": media_root or [],
        "peer_scores": peer_scores,
        "seeds": seeds,
        "settings": settings or [],
    }
    with shared.progress_bars() as progress:
        result = run_benchmark(folders, **how, progress=progress)
    if as_json:
        shared.show(result, (), as_json=True)
    else:
        shared.print_rich(rich_benchmark(result))
        for own in result["folders"]:
            for note in own["notes"]:
                typer.echo(f"note: {own['name']}: {note}")
    for fault in result["failed"]:
        typer.secho(f"failed: {fault['folder']}: {fault['error']}", fg=typer.colors.RED, err=True)
    refused = [Refusal(**r) for f in result["folders"] for r in f["refused"]]  # type: ignore[arg-type]
    shared.finish(refused, failed=bool(result["failed"]))
