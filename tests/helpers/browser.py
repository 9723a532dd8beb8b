"""Headless Chromium, driven by its DevTools protocol: a page, its files, what it shows."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

WAIT_S = 60.0
NAMES = ("chromium", "chromium-browser", "google-chrome")


class Page:
    """A tab. `faults` are errors of scripts, violations of the policy, and failed requests."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = count(1)
        self.faults: list[str] = []
        self.requested: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **parameters: Any) -> Any:
        """The result of a command of the protocol."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=WAIT_S))
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        name, about = message.get("method"), message.get("params", {})
        if name == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(about["exceptionDetails"])[:500])
        elif name == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.faults.append(about["entry"]["text"])
        elif name == "Network.requestWillBeSent":
            self.requested.append(about["request"]["url"])

    def js(self, code: str) -> Any:
        """The value of an expression in the page."""
        made = self.do("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in made, made
        return made["result"].get("value")

    def until(self, code: str) -> None:
        """Waits until an expression is true."""
        end = time.monotonic() + WAIT_S
        while not self.js(f"Boolean({code})"):
            assert time.monotonic() < end, (code, self.faults, self.text())
            time.sleep(0.05)

    def text(self, selector: str = "body") -> str:
        return str(self.js(f"document.querySelector({selector!r}).innerText"))

    def open(self, address: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self.size(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.do("Emulation.setEmulatedMedia", features=[scheme])
        self.do("Page.navigate", url=address)
        self.until("document.readyState == 'complete' && document.getElementById('model')"
                   " && document.getElementById('model').textContent != ''")  # fmt: skip

    def size(self, width: int, height: int) -> None:
        self.do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def choose(self, selector: str, files: Sequence[Path]) -> None:
        """Puts files into a file input, as its dialogue does."""
        root = self.do("DOM.getDocument")["root"]["nodeId"]
        node = self.do("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.do("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def drop(self, files: Sequence[Path]) -> None:
        """Drops files onto the middle of the page, as from a file manager."""
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.do("Input.dispatchDragEvent", type=kind, x=200, y=300, data=data)

    def press(self, key: str) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            code = {"Tab": 9, "Enter": 13, "ArrowRight": 39, " ": 32}[key]
            self.do("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)
            if key == "Enter" and kind == "rawKeyDown":
                self.do("Input.dispatchKeyEvent", type="char", key=key, text="\r")

    def picture(self, path: Path) -> Path:
        """A PNG of the whole page."""
        taken = self.do("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))
        return path


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A browser with one empty page; a skip where none is installed."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no {' or '.join(NAMES)} on this machine")
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    words += ["--no-first-run", "--disable-background-networking", "--remote-debugging-port=0"]
    words += ["--autoplay-policy=no-user-gesture-required", f"--user-data-dir={folder}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *words, "about:blank"], stdout=log, stderr=log)
        try:
            said, end = folder / "DevToolsActivePort", time.monotonic() + WAIT_S
            while not (said.is_file() and said.read_text().count("\n")):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end, "Chromium has not started"
                time.sleep(0.05)
            port = said.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                tabs = json.load(answer)
            tab = next(t["webSocketDebuggerUrl"] for t in tabs if t["type"] == "page")
            with connect(tab, max_size=None, proxy=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            process.wait(WAIT_S)
