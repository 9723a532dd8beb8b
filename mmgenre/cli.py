"""The command line: each command parses, calls one library function, and prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from mmgenre.errors import MmgenreError, Refusal

if TYPE_CHECKING:
    from mmgenre.manifest import Modality
    from mmgenre.progress import Progress

DONE, FAILED, USAGE, SOME_REFUSED = 0, 1, 2, 3
EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 usage, 3 done but some items were refused (listed)."

app = typer.Typer(
    name="mmgenre",
    help=f"Genres from audio, words and cover art. {EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
manifest_app = typer.Typer(
    help="Datasets: check for leakage, split, describe.", no_args_is_help=True
)
app.add_typer(manifest_app, name="manifest")

RunOption = Annotated[Path, typer.Option("--run", help="Folder of the run.")]
ModalitiesOption = Annotated[
    str,
    typer.Option("--modalities", "-m", help="a (audio), t (text), i (image), joined by commas."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change one setting, as image.weights=none.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="The result alone, as JSON, on stdout.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Threads that read media; default: one a core.")
]
DEFAULT_RUN = Path("runs/default")


def main() -> NoReturn:
    """Runs the command line; errors of mmgenre's own are printed without a traceback."""
    try:
        app()
    except (MmgenreError, OSError) as error:  # OSError: no right to write, a full disk
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(FAILED)
    sys.exit(DONE)


@app.command("extract-features")
def extract_features_command(
    manifest: Annotated[
        Path | None, typer.Option(help="CSV of items; without it the built-in catalogue.")
    ] = None,
    modalities: ModalitiesOption = "a,t,i",
    run: RunOption = DEFAULT_RUN,
    recipe: Annotated[str | None, typer.Option(help="default, quick, or a TOML file.")] = None,
    settings: SetOption = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="Use a trained encoder: a=FOLDER, t=FOLDER or i=FOLDER."),
    ] = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Media -> inputs -> encoders trained on the genre task -> embeddings in HDF5."""
    wanted = _modalities(modalities)
    given = _encoders(encoder or [])
    from mmgenre.stages import extract_features

    with _progress() as progress:
        result = extract_features(
            manifest,
            run=run,
            modalities=wanted,
            recipe=recipe,
            settings=settings or [],
            encoders=given,
            workers=workers,
            progress=progress,
        )
    if as_json:
        _print_json(result.as_dict())
    else:
        counts = ", ".join(f"{n} with {m}" for m, n in result.counts.items())
        typer.echo(f"{result.embeddings}: {counts}")
        typer.echo(f"next: mmgenre fuse --run {run} --modalities {modalities}")
    _finish(result.refused)


@app.command("fuse")
def fuse_command(
    modalities: ModalitiesOption = "a,t,i",
    run: RunOption = DEFAULT_RUN,
    head: Annotated[Literal["logistic", "cosine"] | None, typer.Option()] = None,
    task: Annotated[
        Literal["single", "multi"] | None, typer.Option(help="One genre an item, or many.")
    ] = None,
    joint: Annotated[
        bool | None, typer.Option("--joint/--no-joint", help="Joint vectors beside embeddings.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Heads trained for each row.")] = 3,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Joint space, late fusion and evaluation of every subset of the modalities."""
    wanted = _modalities(modalities)
    from mmgenre.runs import open_run
    from mmgenre.stages import fuse
    from mmgenre.stages.features import refusals

    with _progress() as progress:
        result = fuse(
            wanted,
            run=run,
            head=head,
            joint=joint,
            task=task,
            seeds=seeds,
            settings=settings or [],
            progress=progress,
        )
    refused = [r for r in refusals(open_run(run)) if r.modality in wanted]
    if as_json:
        _print_json({**result, "run": str(run), "refused": [asdict(r) for r in refused]})
    else:
        _print_fusion(result)
        typer.echo(f"next: mmgenre report {run}")
    _finish(refused)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")] = DEFAULT_RUN,
    human: Annotated[
        Path | None,
        typer.Option(help="CSV of a human annotator's F1: columns genre, and rows as A, I, A+I."),
    ] = None,
) -> None:
    """Describes a run, and writes one self-contained HTML page about it."""
    from mmgenre.stages.describing import make_report

    with _progress() as progress:
        page = make_report(run, human=human, progress=progress)
    typer.echo(page)


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


@app.command("run")
def run_command(
    recipe: RecipeArgument,
    dataset: DatasetOption = None,
    overlay: OverlayOption = None,
    runs: RunsOption = Path("runs"),
    seeds: SeedsOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Runs a whole experiment: every step once, a table with the published figures at the end."""
    from mmgenre.report.published import rich_published, write_tables
    from mmgenre.stages.grid import prepare_experiment, run_experiment, write_table

    with _progress() as progress:
        plan = prepare_experiment(
            recipe,
            dataset=dataset,
            overlay=overlay,
            runs=runs,
            seeds=seeds,
            settings=settings or [],
            progress=progress,
        )
        result = run_experiment(plan, progress=progress)
    page = write_tables(result, write_table(result, runs))
    if as_json:
        _print_json(result)
    else:
        _print_rich(rich_published(result))
        typer.echo(page)
    failed = [f"{row['name']}: {fault}" for row in result["rows"] for fault in row["failed"]]
    for fault in failed:
        typer.secho(f"failed: {fault}", fg=typer.colors.RED, err=True)
    _finish([Refusal(**r) for r in result["refused"]], failed=bool(failed))  # type: ignore[arg-type]


@app.command("plan")
def plan_command(
    recipe: RecipeArgument,
    dataset: DatasetOption = None,
    overlay: OverlayOption = None,
    runs: RunsOption = Path("runs"),
    seeds: SeedsOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lists the steps of an experiment: which are done, what each needs, what is left to pay."""
    from mmgenre.stages.costs import describe_plan
    from mmgenre.stages.grid import prepare_experiment

    with _progress() as progress:
        plan = prepare_experiment(
            recipe,
            dataset=dataset,
            overlay=overlay,
            runs=runs,
            seeds=seeds,
            settings=settings or [],
            progress=progress,
        )
        described = describe_plan(plan)
    if as_json:
        _print_json(described)
    else:
        from mmgenre.report.published import rich_plan

        _print_rich(rich_plan(described))


@app.command()
def quickstart(
    run: RunOption = DEFAULT_RUN,
    seeds: Annotated[int, typer.Option(min=1, help="Heads trained for each row.")] = 3,
) -> None:
    """Everything once, on the built-in catalogue, with a report at the end."""
    from mmgenre.quickstart import quickstart as run_quickstart

    with _progress() as progress:
        results, page = run_quickstart(run, seeds=seeds, progress=progress)
    for result in results:
        _print_fusion(result)
    typer.echo(f"report: {page}")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Folder of a run.")],
    audio: Annotated[list[Path] | None, typer.Option(help="A track; repeat for an album.")] = None,
    text: Annotated[Path | None, typer.Option(help="A text file.")] = None,
    image: Annotated[Path | None, typer.Option(help="A cover.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="CSV of many items instead.")] = None,
    fusion: Annotated[str | None, typer.Option(help="Name of a folder under RUN/fusion.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Genres shown for each item.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Names the genres of one item, or of a manifest, from any subset of the modalities."""
    single = bool(audio or text or image)
    if single == (manifest is not None):
        raise typer.BadParameter("give --audio, --text or --image (any of them), or --manifest")
    from mmgenre.manifest import Manifest
    from mmgenre.tagger import GenreTagger

    tagger = GenreTagger.from_pretrained(model, fusion)
    refused: Sequence[Refusal] = ()
    if manifest is not None:
        with _progress() as progress:
            predictions, refused = tagger.predict_manifest(
                Manifest.read(manifest), progress=progress
            )
    else:
        try:
            predictions = [tagger.predict(audio=audio, text=text, image=image)]
        except ValueError as error:  # a modality that this model does not know
            raise typer.BadParameter(str(error)) from None
    if as_json:
        shown = [{**asdict(p), "genres": [asdict(g) for g in p.genres[:top]]} for p in predictions]
        _print_json({"predictions": shown, "refused": [asdict(r) for r in refused]})
    else:
        for p in predictions:
            typer.echo(f"{p.id}  from {', '.join(p.used)}  ({p.kind}; * = named)")
            for genre in p.genres[:top]:
                mark = "*" if genre.name in p.named else " "
                typer.echo(f"  {mark} {genre.score:6.3f}  {genre.name}")
    _finish(refused)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Checks whether this installation is able to do the job."""
    from mmgenre.doctor import diagnose

    checks = diagnose()
    if as_json:
        _print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            mark = "ok  " if check.ok else "FAIL"
            typer.echo(f"{mark}  {check.name:<22}{check.found}")
            if check.advice:
                typer.echo(f"      -> {check.advice}")
    if not all(check.ok for check in checks):
        raise typer.Exit(FAILED)


@manifest_app.command("build")
def manifest_build(
    name: Annotated[
        Literal["mumu", "msdi", "cls", "tartarus"],
        typer.Argument(help="Layout: MuMu, MSD-I, genre file of the MSD, the authors' arrays."),
    ],
    folder: Annotated[Path, typer.Argument(help="Where the published files lie.")],
    out: Annotated[Path, typer.Option("--out", help="The CSV to write.")],
    audio: Annotated[Path | None, typer.Option(help="Audio files named by track id.")] = None,
    images: Annotated[Path | None, typer.Option(help="Covers named by item id.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="tartarus: which of several datasets in the folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """A published dataset, and the media that you have of it -> a manifest."""
    from mmgenre.datasets.build import build_manifest

    with _progress() as progress:
        built = build_manifest(
            name,
            folder,
            out,
            audio=audio,
            images=images,
            dataset=dataset,
            progress=progress,
        )
    if as_json:
        _print_json(built.as_dict())
        return
    for line in built.summary():
        typer.echo(line)
    typer.echo(f"next: mmgenre manifest check {out}")


@manifest_app.command("check")
def manifest_check(manifest: Path, as_json: JsonOption = False) -> None:
    """Looks for leakage: artists, albums, identical files or similar covers in two splits."""
    from mmgenre.audit import audit
    from mmgenre.manifest import Manifest

    with _progress() as progress:
        found = audit(Manifest.read(manifest), progress=progress)
    if as_json:
        _print_json(asdict(found))
    else:
        for leak in found.leaks:
            typer.echo(f"leak: {leak}")
        for repeat in found.repeats:
            typer.echo(f"repeat: {repeat}")
        typer.echo(
            f"{manifest}: {len(found.leaks)} leaks, {len(found.repeats)} repeats within a split, "
            f"{len(found.missing)} unreadable files"
        )
    _finish(found.missing, failed=bool(found.leaks))


@manifest_app.command("split")
def manifest_split(
    manifest: Path,
    out: Annotated[Path, typer.Option("--out", help="The CSV to write.")],
    ratios: Annotated[str, typer.Option(help="Train, validation, test.")] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Draws splits that share no artist and no album."""
    from mmgenre.manifest import SPLITS, Manifest
    from mmgenre.splits import make_splits

    try:
        train, val, test = (float(part) for part in ratios.split(","))
    except ValueError:
        raise typer.BadParameter(f"--ratios {ratios!r}: three numbers, as 0.8,0.1,0.1") from None
    items = Manifest.read(manifest)
    done = items.with_splits(make_splits(items, (train, val, test), seed))
    done.write(out)
    counts = ", ".join(f"{len(done.ids(split))} {split}" for split in SPLITS)
    typer.echo(f"{out}: {counts}")


@manifest_app.command("info")
def manifest_info(manifest: Path, as_json: JsonOption = False) -> None:
    """Counts items, modalities, splits and labels."""
    from mmgenre.manifest import Manifest

    info = Manifest.read(manifest).info()
    if as_json:
        _print_json(info)
        return
    for name, value in info.items():
        counts = value.items() if isinstance(value, dict) else [("", value)]
        typer.echo(f"{name:<12}" + ", ".join(f"{k} {n}".strip() for k, n in counts))


def _modalities(text: str) -> tuple[Modality, ...]:
    from mmgenre.manifest import parse_modalities

    try:
        return parse_modalities(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _encoders(given: Sequence[str]) -> dict[Modality, Path]:
    encoders: dict[Modality, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"--encoder {text!r}: write a=FOLDER")
        encoders[_modalities(name)[0]] = Path(folder)
    return encoders


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))


def _print_fusion(result: Any) -> None:
    from mmgenre.report.tables import rich_table

    _print_rich(rich_table(result))


def _print_rich(table: Any) -> None:
    from rich.console import Console

    Console().print(table)


def _finish(refused: Sequence[Refusal], *, failed: bool = False) -> None:
    """Lists who was refused on stderr, and ends with the exit code that says so."""
    for refusal in refused:
        typer.secho(f"refused: {refusal.id}: {refusal.detail}", fg=typer.colors.YELLOW, err=True)
    if failed:
        raise typer.Exit(FAILED)
    if refused:
        raise typer.Exit(SOME_REFUSED)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Bars on stderr, one a task, with count and time."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def show(task: str, done: int, total: int) -> None:
            if task not in tasks:
                tasks[task] = bars.add_task(task, total=total)
            bars.update(tasks[task], completed=done, total=total)

        yield show
