"""Starts the page's server, and ends it without leaving a file."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from mmgenre.errors import MmgenreError
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.serving.app import Server
from mmgenre.serving.guard import Guard
from mmgenre.serving.uploads import Limits
from mmgenre.serving.workplace import tidy, workplace
from mmgenre.signals import SIGNALS

HOST, PORT = "127.0.0.1", 8517
EVERYWHERE = ("0.0.0.0", "::", "")  # names of no host: those of this machine are meant
MOST_CONNECTIONS = 200
GRACE_S = 3  # for answers that are being given when the server is ended


def serve(
    model: Path | str,
    fusion: str | None = None,
    *,
    host: str = HOST,
    port: int = PORT,
    entities_url: str | None = None,
    allow: Collection[str] = (),
    risk: float | None = None,
    limits: Limits | None = None,
    tell: Callable[[str], object],
) -> None:
    """Serves the page of a model until SIGINT, SIGTERM or SIGHUP.

    Args:
        model: as of `GenreTagger.from_pretrained`, as are the next and those with its names.
        fusion: the name of one of the run's fusions.
        entities_url: the address of the service that finds entities in texts.
        allow: files and encoders that the model names and may use.
        host: the address to listen at; that of another machine's reach lets others use the page.
        port: 0: any that is free.
        risk: as of `GenreTagger.predict`.
        limits: of uploads.
        tell: is given lines for the user, the last of which has the page's address.

    Raises:
        MmgenreError: the model cannot be loaded, or the address is not to be had.
    """
    listening = _listening(host, port)
    tagger = GenreTagger.from_pretrained(model, fusion, entities_url=entities_url, allow=allow)
    if not tagger.modalities:
        raise MmgenreError(f"{model}: reads vectors made elsewhere alone, and no media to drop")
    if removed := tidy():
        tell(f"removed what killed servers have left: {len(removed)} folder(s) of uploads")
    with listening, workplace() as uploads, _ended_by_signals():
        server = Server(tagger, uploads, limits or Limits(), risk)
        bound = listening.getsockname()
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        for note in tagger.notes:
            tell(f"note: {note}")
        tell(f"fusion: {tagger.name}; reads {', '.join(tagger.modalities)}")
        tell(f"http://{shown}:{bound[1]}/  (Ctrl+C ends it)")
        try:
            web(server, host).run(sockets=[listening])
        finally:
            server.close()


def web(server: Server, host: str) -> uvicorn.Server:
    """The HTTP server, which answers to the host's name alone, or to addresses."""
    names = {"localhost", host.lower()} - set(EVERYWHERE)
    names |= {socket.gethostname().lower()} if host in EVERYWHERE else set()
    return uvicorn.Server(
        uvicorn.Config(
            Guard(server.app(), frozenset(names)),
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
        )
    )


def _listening(host: str, port: int) -> socket.socket:
    """The socket, before a model is loaded, which takes seconds."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
    except (OSError, OverflowError) as error:
        raise MmgenreError(
            f"{host}:{port}: cannot listen there ({error}); is another server running? Choose "
            "another --port, or 0 for any that is free"
        ) from None


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """All end as Ctrl-C does, so that files are removed: uvicorn raises its two again."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    asked = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in asked}
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        for number, how in before.items():
            signal.signal(number, how)
