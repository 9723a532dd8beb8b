"""What commands share: options, how results are printed, how a command ends."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from mmgenre.cli.showing import shown_progress
from mmgenre.errors import Refusal

if TYPE_CHECKING:
    from mmgenre.items.modalities import Modality
    from mmgenre.progress import Progress

DONE, FAILED, USAGE, SOME_REFUSED = 0, 1, 2, 3
EXIT_CODES = (
    "Exit codes: 0 done, 1 failed, 2 usage, 3 done but some items were refused (listed), "
    "130, 143 and 129 stopped by Ctrl-C, SIGTERM and SIGHUP."
)
DEFAULT_RUN = Path("runs/default")
WIDE = 160  # characters of a table that no terminal shows
LISTED = 10  # refused items that are shown one by one


class Unit(StrEnum):
    """What an item of a folder of music is."""

    TRACK = "track"
    ALBUM = "album"


RunOption = Annotated[Path, Option("--run", help="Folder of the run.")]
ModalitiesOption = Annotated[
    str, Option("--modalities", "-m", help="a (audio), t (text), i (image), joined by commas.")
]
SetOption = Annotated[
    list[str] | None, Option("--set", help="Change one setting, as image.weights=none.")
]
EntitiesUrlOption = Annotated[
    str | None, Option(help="Address of the entity service that the model's texts go to.")
]
AllowOption = Annotated[
    list[str] | None,
    Option(help="A file to open, or an encoder module:NAME to import, that the model names."),
]
QuietOption = Annotated[
    bool, Option("--quiet", "-q", help="No progress on stderr; refused items and errors stay.")
]
JsonOption = Annotated[bool, Option("--json", help="The result alone, as JSON, on stdout.")]
WorkersOption = Annotated[
    int | None, Option(min=1, help="Processes that read media; default: one a core.")
]
MediaRootOption = Annotated[
    list[Path] | None,
    Option(
        "--media-root",
        exists=True,
        file_okay=False,
        help="A folder that media may lie in, beside the manifest's own; repeatable.",
    ),
]
OutOption = Annotated[Path, Option("--out", help="The CSV to write.")]
MapOption = Annotated[
    Path | None,
    Option("--map", help="Table with tabs, columns from and to: genres to rename, or drop."),
]
MinItemsOption = Annotated[
    int | None, Option(min=1, help="Genres that fewer items have are left out, items stay.")
]
TrackOption = Annotated[
    bool,
    Option("--track", help="Learning curves for TensorBoard, too (pip install 'mmgenre[track]')."),
]
RowSeedsOption = Annotated[
    int | None, Option(min=1, help="Heads trained for each row; solved heads need one.")
]


_quiet = ContextVar("quiet", default=False)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """A command that knows --quiet, too."""
    signature = inspect.signature(function, eval_str=True)
    quiet = inspect.Parameter(
        "quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=QuietOption
    )

    @wraps(function)
    def call(*words: Any, quiet: bool = False, **options: Any) -> None:
        _quiet.set(quiet)
        function(*words, **options)

    parameters = [*signature.parameters.values(), quiet]
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    return call


@contextmanager
def usage(hint: str | None = None) -> Iterator[None]:
    """A ValueError is a mistake on the command line, in the option `hint`."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None


def modalities_of(text: str) -> tuple[Modality, ...]:
    """`a,t` -> ("audio", "text")."""
    from mmgenre.items.modalities import parse_modalities

    with usage():
        return parse_modalities(text)


def inputs_of(text: str) -> list[str]:
    """`a,joint.i` -> ["audio", "joint.image"]; other names stay."""
    from mmgenre.items.modalities import JOINT, full_name

    parts = [part.strip() for part in text.split(",")]
    return [JOINT * p.startswith(JOINT) + full_name(p.removeprefix(JOINT)) for p in parts]


def features_of(given: Sequence[str]) -> dict[str, Path]:
    """`clap=FILE` -> {"clap": FILE}; a store alone gives its groups by their own names."""
    from mmgenre.items.modalities import full_name

    features: dict[str, Path] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not equals and not text.endswith(".h5"):
            raise typer.BadParameter(f"--features {text!r}: write NAME=FILE, or FILE.h5")
        key = full_name(name) if equals else ""
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


def curves_told(folder: Path) -> list[str]:
    """A line on where the learning curves lie that a folder has for TensorBoard, if it has any."""
    from mmgenre.learning.tracking import TENSORBOARD

    where = folder / TENSORBOARD
    told = f"learning curves: tensorboard --logdir {where}"
    return [told if where.is_dir() else "learning curves: none, as nothing was trained"]


def show(content: object, lines: Iterable[object], *, as_json: bool) -> None:
    """A result on stdout: its content alone, as JSON, or lines about it."""
    for line in [json.dumps(content, indent=1, ensure_ascii=False)] if as_json else lines:
        typer.echo(line)


def print_rich(table: Any) -> None:
    """Something that rich can print, on stdout."""
    from rich.console import Console

    # A terminal has a width; in a file or a pipe nothing may be cut.
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def finish(
    refused: Sequence[Refusal], *, failed: bool = False, details: Path | None = None
) -> None:
    """Tells on stderr who was refused, and ends with the exit code that says so.

    `details`: the table that lists them all; more than `LISTED` are then only counted.
    """
    for line in refusal_lines(refused, details):
        typer.secho(line, fg=typer.colors.YELLOW, err=True)
    if failed:
        raise typer.Exit(FAILED)
    if refused and os.environ.get("TORCHELASTIC_RUN_ID"):
        typer.echo(f"ends with 0, not {SOME_REFUSED}: launchers take that for a crash", err=True)
    elif refused:
        raise typer.Exit(SOME_REFUSED)


def refusal_lines(refused: Sequence[Refusal], details: Path | None = None) -> list[str]:
    """One line each, or, if there are many and a table has them, one for each kind of fault."""
    if details is None or len(refused) <= LISTED or not details.is_file():
        return [f"refused: {r.id}: {r.detail}" for r in refused]
    kinds: dict[tuple[str, str], list[Refusal]] = {}
    for refusal in refused:
        kinds.setdefault((refusal.modality, refusal.code), []).append(refusal)
    ranked = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    lines = [
        f"refused: {len(own):,} {modality} {code}, such as {own[0].id}: {own[0].detail}"
        for (modality, code), own in ranked
    ]
    return [*lines, f"refused in all: {len(refused):,}, each with its fault in {details}"]


def main_goes_on() -> None:
    """Ends all processes of a launched command but the main one; what is left is to tell."""
    from mmgenre.learning import processes

    is_main = processes.is_main()
    processes.leave()
    if not is_main:
        raise typer.Exit(DONE)


@contextmanager
def results_alone() -> Iterator[None]:
    """What decoders, which are written in C, print on stdout goes to stderr.

    Also in processes that begin meanwhile, for as long as they live.
    """
    sys.stdout.flush()
    try:
        stdout = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of them is closed
        yield
        return
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Progress of the main process on stderr: bars, or lines of a log, unless it is to be quiet.

    Commands work within, and print their results afterwards: see `results_alone`.
    """
    with results_alone(), shown_progress(quiet=_quiet.get()) as progress:
        yield progress
