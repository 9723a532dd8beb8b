"""Where models come from: a folder, the hub's cache, and a hub (a server of this machine)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mmgenre.errors import WeightsError
from mmgenre.frozen.places import find
from mmgenre.frozen.settings import ModelName

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tiny: Mapping[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """The address of a hub that has `me/tiny`, the tiny HuBERT; and the paths it was asked for."""
    folder, asked = tiny["hubert"], list[str]()
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files["README.md"] = b"---\nlicense: cc-by-nc-4.0\n---\n# Tiny\n"
    files["evil.py"] = b"raise SystemExit('ran')\n"

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            asked.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            name = path.rpartition("/")[2]
            if path.startswith("/api/models/me/tiny"):
                siblings = [{"rfilename": file} for file in files]
                about = {"id": "me/tiny", "sha": COMMIT, "siblings": siblings}
                tree = [{"type": "file", "path": f, "size": len(b), "oid": "0"}
                        for f, b in files.items()]  # fmt: skip
                body = json.dumps(tree if "/tree/" in path else about).encode()
                self._send(body, {"Content-Type": "application/json"})
            elif path.startswith("/me/tiny/resolve/") and name in files:
                etag = hashlib.sha1(files[name]).hexdigest()
                self._send(files[name], {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.end_headers()

        def _send(self, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(200)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def get(
    name: str, address: str, home: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`mmgenre encoders --get`, with a hub and a cache of its own."""
    own = {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "mmgenre", "encoders", "--get", name, "--json"]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    return subprocess.run(
        command, env={**inherited, **own, **environment}, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip


def test_a_model_is_downloaded_once_and_found_offline(
    hub: tuple[str, list[str]], tmp_path: Path, tiny: Mapping[str, Path]
) -> None:
    address, asked = hub
    done = get("hf:me/tiny", address, tmp_path)
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert about["revision"] == COMMIT
    assert about["licence"] == "cc-by-nc-4.0"
    assert about["sha256"] == find(ModelName("dir", str(tiny["hubert"]))).sha256
    assert not any("evil.py" in path for path in asked)
    n_asked = len(asked)
    again = get("hf:me/tiny", "http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert json.loads(again.stdout) == about
    assert len(asked) == n_asked


def test_what_cannot_be_had_says_what_to_do(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    address, asked = hub
    for name, where, more in (
        ("hf:me/other", address, {}),
        ("hf:me/tiny", "http://127.0.0.1:9", {}),
        ("hf:me/tiny", address, {"HF_HUB_OFFLINE": "1"}),
    ):
        asked.clear()
        done = get(name, where, tmp_path, **more)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert f"hf download {name[3:]} --local-dir FOLDER" in done.stderr
        assert not (more and asked)


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such folder"):
        find(ModelName("dir", str(tmp_path / "none")))
    with pytest.raises(WeightsError, match=r"has no config.json"):
        find(ModelName("dir", str(tmp_path)))


def test_the_hash_is_of_what_is_loaded(tiny: Mapping[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny["bert"], folder)
    place = find(ModelName("dir", str(folder)))
    before = place.sha256
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / ".git").mkdir()
    (folder / ".git" / "config.json").write_text("{}")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    assert place.sha256 == before
    assert find(ModelName("dir", str(folder))).licence == "mit"
    (folder / "vocab.txt").write_text("other")
    assert place.sha256 != before
