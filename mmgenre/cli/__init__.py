"""The command line: each command parses, calls one library function, and prints."""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer
from typer import Option

from mmgenre.cli import ending, manifests, stores
from mmgenre.cli.encoders import encoders
from mmgenre.cli.experiments import benchmark, plan, run
from mmgenre.cli.models import export, missing, robustness, slices
from mmgenre.cli.predicting import predict
from mmgenre.cli.results import cite, compare, tables
from mmgenre.cli.running import (
    doctor,
    extract_features,
    fuse,
    quickstart,
    report,
    train_starter,
)
from mmgenre.cli.searching import search
from mmgenre.cli.serving import serve
from mmgenre.cli.shared import DONE, EXIT_CODES, FAILED
from mmgenre.cli.shared import command as with_quiet
from mmgenre.cli.tagging import untag
from mmgenre.errors import (
    DamageWarning,
    Interrupted,
    MmgenreError,
    NameWarning,
    OlderRunWarning,
    StoppingWarning,
    VectorsWarning,
    WaitingWarning,
)
from mmgenre.learning.processes import ElsewhereError, OutOfStepError, is_main

# What all processes of a launched command do; of others, the main one alone.
TOGETHER = (["quickstart"], ["extract-features"], ["fuse"], ["run"], ["train-starter"])
OWN_WARNINGS = (
    DamageWarning, NameWarning, OlderRunWarning, StoppingWarning, VectorsWarning, WaitingWarning,
)  # fmt: skip
FAILURES = (MmgenreError, OutOfStepError, OSError)  # OSError: no right to write, a full disk

app = typer.Typer(
    name="mmgenre",
    help=f"Genres from audio, words and cover art. {EXIT_CODES}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"mmgenre {version('mmgenre')}")
        raise typer.Exit(DONE)


VersionOption = Annotated[
    bool,
    Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
]


@app.callback()
def _options(shown: VersionOption = False) -> None:
    """Genres from audio, words and cover art."""


for command in (
    quickstart, extract_features, fuse, run, plan, benchmark, report, compare, tables, cite,
    missing, robustness, slices, export, predict, search, untag, serve, encoders, doctor,
    train_starter,
):  # fmt: skip
    app.command()(with_quiet(command))

manifest_app = typer.Typer(
    help="Datasets: build from a published one, check for leakage, split, describe, dedupe.",
    no_args_is_help=True,
)
app.add_typer(manifest_app, name="manifest")
for act in (
    manifests.build,
    manifests.check,
    manifests.split,
    manifests.info,
    manifests.dedupe,
    manifests.suspects,
):
    manifest_app.command()(with_quiet(act))

store_app = typer.Typer(
    help="Feature stores: describe, verify every value, merge.", no_args_is_help=True
)
app.add_typer(store_app, name="store")
for deed in (stores.info, stores.verify, stores.merge):
    store_app.command()(with_quiet(deed))

_show_as_python_does = warnings.showwarning


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **to: Any) -> None:
    """One plain line for the user; warnings of libraries stay as Python shows them."""
    if issubclass(category, OWN_WARNINGS):
        typer.secho(str(message), fg=typer.colors.YELLOW, err=True)
    else:
        _show_as_python_does(message, category, *where, **to)


def main() -> NoReturn:
    """Runs the command line; errors of mmgenre's own are printed without a traceback."""
    warnings.showwarning = _show_warning
    try:
        if not is_main() and sys.argv[1:2] not in TOGETHER:
            sys.exit(DONE)
        with ending.interrupts():
            app(prog_name="mmgenre")
    except Interrupted as stop:
        sys.exit(ending.end(stop))
    except ElsewhereError:  # the main process has said why
        sys.exit(FAILED)
    except FAILURES as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(FAILED)
    sys.exit(DONE)
