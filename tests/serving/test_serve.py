"""`mmgenre serve` as a process: what it names, and that nothing outlives it, however it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from command_line import Call
from served import BOUNDARY, form, served, upload
from small import Small
from tunes import RATE_HZ, tune

from mmgenre.errors import MmgenreError
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.modalities import MODALITIES
from mmgenre.pipeline.run import open_run
from mmgenre.serving.server import serve
from mmgenre.serving.uploads import Limits
from mmgenre.serving.workplace import PREFIX, tidy, workplace

START_S = 120.0


@dataclass(frozen=True)
class Started:
    process: subprocess.Popen[str]
    port: int
    said: str


@contextmanager
def started(run: Path, folder: Path) -> Iterator[Started]:
    """`mmgenre serve RUN`, whose temporary files go into `folder`."""
    folder.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "mmgenre", "serve", str(run), "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        said = ""
        assert process.stderr is not None
        while "(Ctrl+C" not in said:
            line = process.stderr.readline()
            assert line, f"it ended: {said}"
            said += line
        [port] = re.findall(r"http://127\.0\.0\.1:(\d+)/", said)
        yield Started(process, int(port), said)
    finally:
        process.kill()
        process.communicate()


def test_it_names_genres_and_damaged_files_and_ends_without_a_trace(
    small: Small, tmp_path: Path
) -> None:
    with started(small.run, tmp_path / "t") as it:
        song = tmp_path / "song.wav"
        soundfile.write(song, tune(1, 8), RATE_HZ)
        soundfile.write(tmp_path / "silence.flac", np.zeros(8 * RATE_HZ), RATE_HZ)
        cover = (item := next(i for i in open_run(small.run).manifest if len(i.media) == 3)).media
        assert item.media.keys() == set(MODALITIES)
        picture = Path(cover["image"][0]).read_bytes()
        answer = upload(
            it.port,
            ("audio", "a/song.wav", song.read_bytes()),
            ("audio", "bad.mp3", b"no sound" * 500),
            ("audio", "silence.flac", (tmp_path / "silence.flac").read_bytes()),
            ("image", "cover.jpg", picture),
            ("text", "review.txt", "Laute Gitarren und \xfc".encode("latin-1")),
        )
        assert answer.status == 200, answer.body
        expected = GenreTagger.from_pretrained(small.run).predict(
            audio=song, image=Path(cover["image"][0]), explain=True
        )
        found = answer.json
        assert [g["name"] for g in found["genres"]] == [g.name for g in expected.genres]
        scores = [g["score"] for g in found["genres"]]
        np.testing.assert_allclose(scores, [g.score for g in expected.genres], atol=1e-6)
        assert found["used"] == ["audio", "image"]
        assert found["reasons"]["shares"].keys() == {"audio", "image"}
        refused = {(one["file"], one["code"]) for one in found["refused"]}
        assert refused == {
            ("bad.mp3", "unreadable"), ("silence.flac", "silent"), ("review.txt", "encoding")
        }  # fmt: skip
        assert str(tmp_path) not in answer.body.decode()
        nothing = upload(it.port, ("image", "x.png", b"no picture"), ("text", None, b"?!"))
        assert nothing.status == 422
        assert [one["file"] for one in nothing.json["refused"]] == ["your text", "x.png"]
        it.process.send_signal(signal.SIGTERM)
        assert it.process.wait(30) == 0
        assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.slow
def test_a_file_whose_reading_takes_too_long_is_refused(small: Small, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    soundfile.write(song, tune(1, 300), RATE_HZ)
    tagger = GenreTagger.from_pretrained(small.run)
    with served(tagger, tmp_path / "u", Limits(reading_s=0.02)) as server:
        answer = upload(server.port, ("audio", "song.wav", song.read_bytes()))
        assert answer.status == 422
        [refused] = answer.json["refused"]
        assert (refused["file"], refused["code"]) == ("song.wav", "too_slow")
        assert server.left() == []


def half_an_upload(port: int) -> socket.socket:
    """A connection that has sent the first half of a form."""
    body = form([("audio", "a.wav", bytes(3_000_000))])
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    raw = socket.create_connection(("127.0.0.1", port), timeout=30)
    raw.sendall(head.encode() + body[:2_000_000])
    return raw


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 1000]


SLOW = pytest.mark.slow  # each starts a server that loads a model


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGKILL, marks=SLOW),
        pytest.param(signal.SIGTERM, marks=SLOW),
        pytest.param(signal.SIGINT, marks=SLOW),
    ],
)
def test_killed_half_way_through_an_upload(small: Small, tmp_path: Path, number: int) -> None:
    place = tmp_path / "t"
    with started(small.run, place) as it:
        assert upload(it.port, ("text", None, b"loud riffs")).status == 200  # a reader has begun
        readers = psutil.Process(it.process.pid).children(recursive=True)
        with half_an_upload(it.port):
            end = time.monotonic() + START_S
            while not files_in(place):
                assert time.monotonic() < end, "nothing has arrived"
                time.sleep(0.02)
            it.process.send_signal(number)
            it.process.wait(30)
    assert readers
    _, alive = psutil.wait_procs(readers, 30)
    assert not alive
    if number != signal.SIGKILL:
        assert list(place.iterdir()) == []
        return
    assert files_in(place)  # of which the next server knows that they are nobody's
    with started(small.run, place) as it:
        assert "removed what killed servers have left: 1 folder(s)" in it.said
        assert not files_in(place)
        assert len(list(place.glob(f"{PREFIX}*"))) == 1
        assert upload(it.port, ("text", None, b"loud riffs")).status == 200
        assert not files_in(place)
        it.process.send_signal(signal.SIGTERM)
        it.process.wait(30)
    assert list(place.iterdir()) == []


def test_only_folders_of_killed_servers_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "uploads").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(precious)
    (tmp_path / f"{PREFIX}file").write_text("x")
    other = tmp_path / f"{PREFIX}with-more"
    (other / "uploads").mkdir(parents=True)
    (other / "notes.txt").write_text("not ours")
    dead = tmp_path / f"{PREFIX}dead"
    (dead / "uploads" / "upload-1").mkdir(parents=True)
    (dead / "uploads" / "upload-1" / "audio-0").write_bytes(b"x")
    (dead / ".uploads.lock").write_text("{}")
    with workplace() as own:
        assert tempfile.gettempdir() == str(own)
        (own / "x").write_text("in use")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        pid = os.fork()  # another process, which holds no lock
        if pid == 0:
            os._exit(0 if tidy() == [dead] else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert (own / "x").read_text() == "in use"
    assert not own.parent.exists()
    assert not dead.exists()
    assert (precious / "uploads").is_dir()
    assert (other / "notes.txt").read_text() == "not ours"
    assert (tmp_path / f"{PREFIX}link").is_symlink()
    assert (tmp_path / f"{PREFIX}file").is_file()


def test_the_folder_is_for_this_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with workplace() as own:
        assert own.parent.stat().st_mode & 0o077 == 0
        assert own.stat().st_mode & 0o077 == 0


def test_a_port_that_is_taken_is_said_before_a_model_is_loaded(tmp_path: Path, call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = call("serve", tmp_path / "no model", "--port", port)
        assert ended.code == 1
        assert f"127.0.0.1:{port}: cannot listen there" in ended.err
        assert "--port" in ended.err


def test_addresses_that_are_none(tmp_path: Path) -> None:
    for host in ("not an address", "192.0.2.1"):
        with pytest.raises(MmgenreError, match="cannot listen there"):
            serve(tmp_path, host=host, port=0, tell=print)


WITHOUT = """
import sys
sys.modules["uvicorn"] = None
sys.argv = ["mmgenre", "serve", "no model"]
from mmgenre.cli import main
main()
"""


def test_without_the_extra_it_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert done.returncode == 1
    told = "error: uvicorn is not installed; install it with: pip install 'mmgenre[demo]'"
    assert told in done.stderr


def test_the_page_names_no_other_address() -> None:
    from mmgenre.serving.app import FILES, PAGE

    assert {path.name for path in PAGE.iterdir()} == {name for name, _ in FILES.values()}
    for path in PAGE.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[a-z]+\.", text), path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
        assert not re.search(r"\son\w+=|<script(?! type=\"module\" src)|\sstyle=", text), path
