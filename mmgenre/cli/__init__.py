"""The command line: each command parses, calls one library function, and prints."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from mmgenre.cli import experiments, manifests, running, stores
from mmgenre.cli.shared import DONE, EXIT_CODES, FAILED
from mmgenre.errors import MmgenreError
from mmgenre.learning.crew import ElsewhereError, OutOfStepError
from mmgenre.learning.processes import is_main

# What all processes of a launched command do; of others, the main one alone.
TOGETHER = (["quickstart"], ["extract-features"], ["fuse"], ["run"])
FAILURES = (MmgenreError, OutOfStepError, OSError)  # OSError: no right to write, a full disk

app = typer.Typer(
    name="mmgenre",
    help=f"Genres from audio, words and cover art. {EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("quickstart")(running.quickstart)
app.command("extract-features")(running.extract_features)
app.command("fuse")(running.fuse)
app.command("run")(experiments.run)
app.command("plan")(experiments.plan)
app.command("report")(running.report)
app.command("predict")(running.predict)
app.command("doctor")(running.doctor)

manifest_app = typer.Typer(
    help="Datasets: build from a published one, check for leakage, split, describe, dedupe.",
    no_args_is_help=True,
)
manifest_app.command("build")(manifests.build)
manifest_app.command("check")(manifests.check)
manifest_app.command("split")(manifests.split)
manifest_app.command("info")(manifests.info)
manifest_app.command("dedupe")(manifests.dedupe)
app.add_typer(manifest_app, name="manifest")

store_app = typer.Typer(
    help="Feature stores: describe, verify every value, merge.", no_args_is_help=True
)
store_app.command("info")(stores.info)
store_app.command("verify")(stores.verify)
store_app.command("merge")(stores.merge)
app.add_typer(store_app, name="store")


def main() -> NoReturn:
    """Runs the command line; errors of mmgenre's own are printed without a traceback."""
    try:
        if not is_main() and sys.argv[1:2] not in TOGETHER:
            sys.exit(DONE)
        app()
    except ElsewhereError:  # the main process has said why
        sys.exit(FAILED)
    except FAILURES as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(FAILED)
    sys.exit(DONE)
