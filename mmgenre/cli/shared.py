"""What commands share: options, how results are printed, how a command ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmgenre.errors import Refusal

if TYPE_CHECKING:
    from mmgenre.manifest import Modality
    from mmgenre.progress import Progress

DONE, FAILED, USAGE, SOME_REFUSED = 0, 1, 2, 3
EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 usage, 3 done but some items were refused (listed)."


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


def modalities_of(text: str) -> tuple[Modality, ...]:
    """`a,t` -> ("audio", "text")."""
    from mmgenre.manifest import parse_modalities

    try:
        return parse_modalities(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def inputs_of(text: str) -> list[str]:
    """`a,joint.i` -> ["audio", "joint.image"]; other names stay."""
    from mmgenre.manifest import SHORT

    parts = [part.strip() for part in text.split(",")]
    names = []
    for part in parts:
        joint, plain = "joint." * part.startswith("joint."), part.removeprefix("joint.")
        names.append(joint + str(SHORT.get(plain, plain)))
    return names


def features_of(given: Sequence[str]) -> dict[str, Path]:
    """`clap=FILE` -> {"clap": FILE}; a store alone gives its groups by their own names."""
    from mmgenre.manifest import SHORT

    features: dict[str, Path] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not equals and not text.endswith(".h5"):
            raise typer.BadParameter(f"--features {text!r}: write NAME=FILE, or FILE.h5")
        key = str(SHORT.get(name, name)) if equals else ""
        if key in features:
            raise typer.BadParameter(f"--features {text!r}: {name or 'a store'} is given twice")
        features[key] = Path(file if equals else text)
    return features


def encoders_of(given: Sequence[str]) -> dict[Modality, Path]:
    """`a=FOLDER` -> {"audio": FOLDER}."""
    encoders: dict[Modality, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"--encoder {text!r}: write a=FOLDER")
        encoders[modalities_of(name)[0]] = Path(folder)
    return encoders


def print_json(content: object) -> None:
    """The result alone, on stdout."""
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))


def print_fusion(result: Any) -> None:
    """A fusion's table."""
    from mmgenre.report.tables import rich_table

    print_rich(rich_table(result))


def print_rich(table: Any) -> None:
    """Something that rich can print, on stdout."""
    from rich.console import Console

    Console().print(table)


def finish(refused: Sequence[Refusal], *, failed: bool = False) -> None:
    """Lists who was refused on stderr, and ends with the exit code that says so."""
    for refusal in refused:
        typer.secho(f"refused: {refusal.id}: {refusal.detail}", fg=typer.colors.YELLOW, err=True)
    if failed:
        raise typer.Exit(FAILED)
    if refused:
        raise typer.Exit(SOME_REFUSED)


@contextmanager
def progress_bars() -> Iterator[Progress]:
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
