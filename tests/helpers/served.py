"""The page's server in a thread of this process, a tagger to play its part, and a plain client."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from mmgenre.errors import Refusal
from mmgenre.fusion.prediction import Genre, Prediction, Reasons
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.serving.app import Server
from mmgenre.serving.server import web
from mmgenre.serving.uploads import Limits

WAIT_S = 60.0
BOUNDARY = "a-boundary"


@dataclass
class Played:
    """A tagger that says what it was given: the genre of an item is the hash of its files."""

    seconds: float = 0.0
    reasons: Reasons | None = None
    name: str = "played"
    licence: str | None = None
    modalities: tuple[str, ...] = ("audio", "text", "image")
    fusion: Any = field(default_factory=lambda: SimpleNamespace(labels=SimpleNamespace(names=[])))
    at_once: int = 0
    most_at_once: int = 0
    items: list[Item] = field(default_factory=list)

    def check_modalities(self, item: Item) -> None:
        if unknown := set(item.media) - set(self.modalities):
            raise ValueError(f"{', '.join(unknown)}: this model reads none")

    def predict_manifest(
        self, manifest: Manifest, **options: Any
    ) -> tuple[list[Prediction], list[Refusal]]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        [item] = manifest
        self.items.append(item)
        content = hashlib.sha256()
        for modality in sorted(item.media):
            for medium in item.media[modality]:
                content.update(medium.read_bytes() if isinstance(medium, Path) else medium.encode())
        time.sleep(self.seconds)
        self.at_once -= 1
        first = content.hexdigest() if self.reasons is None else self.reasons.genre
        genres = (Genre(first, 0.8), Genre("Other", 0.1))
        used = tuple(m for m in self.modalities if m in item.media)
        named = (genres[0].name,)
        return [Prediction("item", "probability", genres, named, used, (), self.reasons)], []


@dataclass(frozen=True)
class Served:
    """A server that runs: its port, and the folder of its uploads."""

    port: int
    uploads: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def left(self) -> list[Path]:
        """What lies in the folder once nothing is served any more."""
        end = time.monotonic() + WAIT_S
        while (found := _below(self.uploads)) and time.monotonic() < end:
            time.sleep(0.02)
        return found


def _below(folder: Path) -> list[Path]:
    """All files and folders in a folder; some may vanish meanwhile, which `rglob` does not bear."""
    walked = os.walk(folder)
    return sorted(Path(above) / name for above, *names in walked for own in names for name in own)


@contextmanager
def served(
    tagger: Played | GenreTagger, folder: Path, limits: Limits | None = None
) -> Iterator[Served]:
    folder.mkdir(parents=True, exist_ok=True)
    own = Server(cast(GenreTagger, tagger), folder, limits or Limits())
    listening = socket.create_server(("127.0.0.1", 0))
    running = web(own, "127.0.0.1")
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Served(listening.getsockname()[1], folder)
    finally:
        running.should_exit = True
        thread.join(WAIT_S)
        own.close()
        listening.close()
        assert not thread.is_alive()


Part = tuple[str, str | None, bytes]  # field, file name, content


def form(parts: Sequence[Part]) -> bytes:
    """The body of a multipart form."""
    lines = []
    for name, file, content in parts:
        of = "" if file is None else f'; filename="{file}"'
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{of}\r\n\r\n'
        lines.append(head.encode() + content + b"\r\n")
    return b"".join(lines) + f"--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    port: int,
    path: str = "/predict",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """GET, or POST if there is a body."""
    own = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"} | (headers or {})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        connection.request("GET" if body is None else "POST", path, body, own)
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())
    finally:
        connection.close()


def upload(port: int, *parts: Part, headers: dict[str, str] | None = None) -> Answer:
    return ask(port, body=form(parts), headers=headers)
