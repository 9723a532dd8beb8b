"""The command that serves a page."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument, Option

from mmgenre.cli import shared
from mmgenre.errors import MmgenreError


def serve(
    model: Annotated[str, Argument(help="Exported model, run, hf:OWNER/NAME, or: catalogue.")],
    port: Annotated[int, Option(min=0, max=65_535, help="0: any that is free.")] = 8517,
    host: Annotated[
        str, Option(help="Address to listen at; any but this one lets other machines in.")
    ] = "127.0.0.1",
    risk: Annotated[
        float | None,
        Option(min=0, max=1, help="Name no genre that is wrong with a higher probability."),
    ] = None,
    fusion: Annotated[str | None, Option(help="Name of a folder under RUN/fusion.")] = None,
    entities_url: shared.EntitiesUrlOption = None,
    allow: shared.AllowOption = None,
) -> None:
    """Serves a page on this machine: drop a song, a cover or a text, and read its genres."""
    try:
        from mmgenre.serving.server import serve as run
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn", "multipart"):
            raise
        raise MmgenreError(
            f"{error.name} is not installed; install it with: pip install 'mmgenre[demo]'"
        ) from None
    run(
        model,
        fusion,
        host=host,
        port=port,
        entities_url=entities_url,
        allow=allow or (),
        risk=risk,
        tell=lambda line: typer.echo(line, err=True),
    )
