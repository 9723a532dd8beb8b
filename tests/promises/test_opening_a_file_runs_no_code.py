"""Opening what a stranger made runs no code, and reads or writes no other file."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import opener
import pytest
import torch
from PIL import Image
from plain import plain_items

from mmgenre.disk.bundle import CONFIG, SUMS, WEIGHTS, write_bundle
from mmgenre.disk.files import read_json, write_json
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.disk.store import write_store
from mmgenre.errors import RecipeError
from mmgenre.items.manifest import Manifest
from mmgenre.learning.kind import resolve
from mmgenre.pipeline.prepare import prepare_run

MADE = Provenance("stage", 1, {})
ROWS = np.ones((4, 8), np.float32)
PAYLOAD = "__import__('os').system('touch {}')"


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.target}",)


class Strangers:
    """Sound files and hostile ones, which name `secret` and would make `target`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sound, self.hostile = folder / "sound", folder / "hostile"
        self.target, self.secret = folder / "made-by-a-payload", folder / "secret.h5"
        for path in (self.sound, self.hostile):
            path.mkdir()
        write_store(self.secret, "v", [([*"abcd"], ROWS)], MADE)
        self.items = plain_items(folder / "media", 12)
        self.payload = PAYLOAD.format(self.target)
        self.pickled = pickle.dumps(Payload(self.target))
        for make in (self.stores, self.bundles, self.runs, self.tables, self.media):
            make()

    def store(self, name: str, attack: Callable[[h5py.Group], None]) -> None:
        path = self.hostile / f"store.{name}"
        write_store(path, "v", [([*"abcd"], ROWS)], MADE)
        with h5py.File(path, "r+") as file:
            attack(file["v"])

    def stores(self) -> None:
        write_store(self.sound / "store.a", "v", [([*"abcd"], ROWS)], MADE)
        secret = str(self.secret)

        def replaced(make: Callable[[h5py.Group], object]) -> Callable[[h5py.Group], None]:
            def attack(group: h5py.Group) -> None:
                del group["data"]
                make(group)

            return attack

        def virtual(group: h5py.Group) -> None:
            layout = h5py.VirtualLayout((4, 8), "float32")
            layout[:] = h5py.VirtualSource(secret, "v/data", (4, 8))
            group.create_virtual_dataset("data", layout)

        def external_ids(group: h5py.Group) -> None:
            del group["ids"]
            group["ids"] = h5py.ExternalLink(secret, "/v/ids")

        def linked(group: h5py.Group) -> None:
            group.file["w"] = h5py.ExternalLink(secret, "/v")
            group.file["s"] = h5py.SoftLink("/v")

        def external(group: h5py.Group) -> None:
            group.create_dataset("data", (4, 8), "float32", external=[(secret, 0, 128)])

        def pickles(group: h5py.Group) -> None:
            group.create_dataset("data", data=np.void(self.pickled))

        self.store("external-storage", replaced(external))
        self.store("virtual", replaced(virtual))
        self.store("pickle", replaced(pickles))
        self.store("external-group", linked)
        self.store(
            "external-data",
            replaced(lambda g: g.__setitem__("data", h5py.ExternalLink(secret, "/v/data"))),
        )
        self.store("external-ids", external_ids)
        self.store(
            "reference",
            replaced(lambda g: g.create_dataset("data", (4,), h5py.ref_dtype)),
        )
        (self.hostile / "store.pickled").write_bytes(self.pickled)

    def bundle(self, name: str, change: Callable[[Path], None]) -> None:
        folder = self.hostile / f"bundle.{name}"
        files = {"vocab.json": ["a"]}
        write_bundle(folder, "k", {}, {"w": torch.ones(3)}, MADE, files=files)
        change(folder)

    def bundles(self) -> None:
        write_bundle(self.sound / "bundle.a", "k", {}, {"w": torch.ones(3)}, MADE)

        def listing(name: str) -> Callable[[Path], None]:
            def change(folder: Path) -> None:
                sums = read_json(folder / SUMS)
                write_json(folder / SUMS, sums | {name: sha256_file(self.secret)})

            return change

        def pickled(folder: Path) -> None:
            (folder / WEIGHTS).write_bytes(self.pickled)
            sums = read_json(folder / SUMS)
            write_json(folder / SUMS, sums | {WEIGHTS: sha256_file(folder / WEIGHTS)})

        def torch_saved(folder: Path) -> None:
            torch.save({"w": Payload(self.target)}, folder / WEIGHTS)
            sums = read_json(folder / SUMS)
            write_json(folder / SUMS, sums | {WEIGHTS: sha256_file(folder / WEIGHTS)})

        def odd_kind(folder: Path) -> None:
            config = read_json(folder / CONFIG)
            write_json(
                folder / CONFIG, config | {"kind": self.payload, "config": {"x": self.payload}}
            )
            sums = read_json(folder / SUMS)
            write_json(folder / SUMS, sums | {CONFIG: sha256_file(folder / CONFIG)})

        self.bundle("above", listing("../../secret.h5"))
        self.bundle("absolute", listing(str(self.secret)))
        self.bundle("pickle", pickled)
        self.bundle("torch", torch_saved)
        self.bundle("kind", odd_kind)

    def runs(self) -> None:
        manifest = Manifest(self.items).write(self.folder / "m.csv")
        prepare_run(self.sound / "run.a", manifest=manifest, recipe="quick")
        changes: dict[str, dict[str, Any]] = {
            "dataset": {"dataset": str(self.secret)},
            "encoder": {"text": {"encoders": ["evil:make"]}},
            "builtin": {"text": {"encoders": ["os:system"]}},
            "acting": {"text": {"encoders": ["antigravity:fly"]}},
            "weights": {"image": {"weights": str(self.secret)}},
            "model": {"text": {"model": str(self.folder)}},
            "knowledge": {"text": {"input": {"entities": {"knowledge": str(self.secret)}}}},
            "address": {"text": {"input": {"entities": {"url": "http://127.0.0.1:9/annotate"}}}},
        }
        for name, change in changes.items():
            run = self.hostile / f"run.{name}"
            shutil.copytree(self.sound / "run.a", run)
            state = read_json(run / "run.json")
            for section, values in change.items():
                if isinstance(values, str):
                    state[section] = values
                else:
                    state["recipe"][section] |= values
            write_json(run / "run.json", state)
            (run / "evil.py").write_text(f"make = {self.payload}", encoding="utf-8")

    def tables(self) -> None:
        shutil.copy(self.folder / "m.csv", self.sound / "manifest.a.csv")
        np.savez(self.sound / "features.a.npz", ids=np.array([*"abcd"]), x=ROWS)
        (self.sound / "recipe.a.toml").write_text('base = "quick"\n', encoding="utf-8")
        recipes = {
            "python": f"seed = {self.payload!r}",
            "encoder": '[text]\nencoders = ["evil:make"]',
            "acting": '[text]\nencoders = ["antigravity:fly"]',
            "builtin": '[text]\nencoders = ["subprocess:Popen"]',
            "bomb": "a = " + "[" * 5000,
        }
        for name, text in recipes.items():
            (self.hostile / f"recipe.{name}.toml").write_text(text, encoding="utf-8")
        (self.hostile / "evil.py").write_text(f"make = {self.payload}", encoding="utf-8")
        os.rename(self.hostile / "evil.py", self.folder / "evil.py")  # noqa: PTH104
        rows = {
            "paths": f"a,{self.secret},../../../../etc/passwd,",
            "formula": f"=cmd|'/c touch {self.target}'!A0,,,",
            "address": "a,http://127.0.0.1:9/a.mp3,file:///etc/passwd,",
            "template": f"a,,,{{{{ {self.payload} }}}}",
        }
        for name, row in rows.items():
            text = f"id,audio,text_file,text\n{row}\n"
            (self.hostile / f"manifest.{name}.csv").write_text(text, encoding="utf-8")
        objects = np.array([Payload(self.target)], object)
        np.savez(self.hostile / "features.objects.npz", ids=objects, x=objects)
        np.save(self.hostile / "features.object.npy", objects, allow_pickle=True)
        header = f"{{'descr': {self.payload}, 'fortran_order': False, 'shape': (1,), }}".ljust(180)
        evaluated = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
        (self.hostile / "features.header.npy").write_bytes(evaluated)
        with zipfile.ZipFile(self.hostile / "features.above.npz", "w") as archive:
            archive.writestr("../../above.npy", evaluated)
            archive.writestr("/tmp/absolute.npy", evaluated)

    def media(self) -> None:
        for modality, files in self.items[0].media.items():
            source = Path(str(files[0]))
            shutil.copy(source, self.sound / f"{modality}.a{source.suffix}")
        for suffix in ("mp3", "ogg", "flac"):
            source = next((self.folder / "media").glob(f"*.{suffix}"))
            shutil.copy(source, self.sound / f"audio.a.{suffix}")
        for suffix in ("png", "gif", "bmp", "tiff", "webp"):
            Image.new("RGB", (32, 32), "red").save(self.sound / f"image.b.{suffix}")
        script = (
            f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n({self.target}) (w) file quit\n"
        )
        svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{self.secret}"/></svg>'
        playlist = f"#EXTM3U\n{self.secret}\nhttp://127.0.0.1:9/a.mp3\n"
        pdf = "%PDF-1.4\n1 0 obj << /OpenAction << /S /Launch /F (touch) >> >> endobj"
        for name, text in {"eps": script, "svg": svg, "m3u": playlist, "pdf": pdf}.items():
            for medium, suffix in (
                ("image", "jpg"),
                ("image", name),
                ("audio", "wav"),
                ("audio", name),
            ):
                path = self.hostile / f"{medium}.{name}.{suffix}"
                path.write_text(text, encoding="utf-8")
        sound = Path(str(self.items[0].media["audio"][0])).read_bytes()
        for suffix in ("sd2", "raw", "caf", "svx", "xi", "wve", "mpc2k", "dls"):
            (self.hostile / f"audio.as.{suffix}").write_bytes(sound)  # some have a second file
        for kind in ("audio.pickle.wav", "image.pickle.png", "text.pickle.txt"):
            (self.hostile / kind).write_bytes(self.pickled)
        (self.hostile / "text.template.txt").write_text(
            f"{{{{ {self.payload} }}}}", encoding="utf-8"
        )


def opened(folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, str(Path(opener.__file__)), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,  # with an evil.py in it
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "MMGENRE_CACHE": str(folder.with_name(f"{folder.name}-cache")),
        },
    )


def test_opening_strangers_files(tmp_path: Path, record_property: Any) -> None:
    strangers = Strangers(tmp_path)
    done = opened(tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.keys() == {path.name for path in strangers.hostile.iterdir()}
    assert {name: noted for name, (_, noted) in found.items() if noted} == {}
    assert {name: said for name, (said, _) in found.items() if said.startswith("!")} == {}
    assert not strangers.target.exists()
    refused = [name for name, (said, _) in found.items() if said != "opened"]
    assert len(refused) > len(found) // 2
    record_property("cases", len(found))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="no program `strace` here")
def test_the_system_is_asked_for_no_other_file_either(tmp_path: Path) -> None:
    """HDF5, libsndfile and Pillow open files without Python's knowledge."""
    strangers = Strangers(tmp_path)
    trace = tmp_path.with_name(f"{tmp_path.name}-trace")
    calls = "open,openat,openat2,creat,execve,execveat,connect,sendto,unlink,rename,stat,newfstatat"
    done = opened(
        tmp_path, "strace", "-f", "-qq", "-s", "400", "-e", f"trace={calls}", "-o", str(trace)
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("programs may not be traced here")
    assert done.returncode == 0, done.stderr[-3000:]
    text = trace.read_text(errors="replace")
    _, mark, after = text.partition(opener.MARK)
    assert mark
    opens = [line for line in after.splitlines() if "stat" not in line.split("(")[0]]
    assert any(str(strangers.hostile) in line for line in opens)
    for path in (strangers.secret, strangers.target, Path("/etc/passwd")):
        assert [line for line in opens if f'"{path}' in line] == []
    assert [line for line in opens if "exec" in line.split("(")[0] or "connect(" in line] == []
    allowed = (
        str(strangers.hostile),
        *opener.LIBRARIES,
        "/proc/",
        "/sys/",
        "/dev/",
        "/usr/",
        "/lib",
    )
    others = [
        line for line in opens if "open" in line and not any(f'"{a}' in line for a in allowed)
    ]
    assert [line for line in others if "ENOENT" not in line] == []


@pytest.mark.slow
def test_the_watch_sees_what_it_should(tmp_path: Path) -> None:
    """The hook itself: a reader that reads another file, or starts a program, is noted."""
    for folder in ("sound", "hostile"):
        (tmp_path / folder).mkdir()
    (tmp_path / "hostile" / "text.a.txt").write_text("A text.", encoding="utf-8")
    source = (
        "import sys; sys.argv = ['opener', sys.argv[1]]; import opener, subprocess, socket\n"
        "from pathlib import Path\n"
        "def odd(path):\n"
        "    Path(path.parents[1] / 'other').write_text('x'); open('/etc/hostname').close()\n"
        "    subprocess.run(['true']); socket.socket().connect_ex(('127.0.0.1', 9))\n"
        "opener.READERS['text'] = odd; opener.main(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert done.returncode == 0, done.stderr
    ((_, noted),) = json.loads(done.stdout).values()
    for event in ("open ('", "'/etc/hostname'", "subprocess.Popen", "socket.connect"):
        assert any(event in line for line in noted), event


@pytest.mark.parametrize("name", ["os:system", "antigravity:fly", "idlelib.idle:x", "this:s"])
def test_modules_of_python_are_not_imported_as_encoders(name: str) -> None:
    before = set(sys.modules)
    with pytest.raises(RecipeError, match=f"{name}: is of Python's own library"):
        resolve(name)
    assert set(sys.modules) == before
