"""Is this installation able to do the job, and what to do if not."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mmgenre.installation import (
    TOGETHER,
    admits,
    explanation,
    module_of,
    requirements,
    torch_faults,
)

FREE_GB = 2.0


@dataclass(frozen=True)
class Check:
    """One finding; `advice` is empty where all is well."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def diagnose() -> list[Check]:
    """Runs every check; none of them raises."""
    try:
        checks = [_package(name, needed) for name, needed in requirements().items()]
    except PackageNotFoundError:
        checks = [Check("mmgenre", False, "not installed", "pip install mmgenre")]
    tries: dict[str, tuple[Callable[[], str], str]] = {
        "torch computes": (_torch, f"reinstall: pip install --force-reinstall {_pair()}"),
        "many devices": (_devices, "reinstall torch; its wheel carries gloo and NCCL"),
        "audio formats": (_audio, "reinstall soundfile; its wheel carries libsndfile"),
        "constant-Q transform": (_cqt, "reinstall librosa"),
        "images": (_images, "reinstall Pillow"),
        "store": (_store, "reinstall h5py"),
        "recipes": (_recipes, "reinstall mmgenre; the wheel carries them"),
    }
    for name, (check, advice) in tries.items():
        try:
            checks.append(Check(name, True, check()))
        except Exception as error:  # whatever is broken here is the finding
            found = f"{type(error).__name__}: {error}"
            checks.append(Check(name, False, found, explanation(error) or advice))
    return [*checks, *_matches(), _disk()]


def _package(name: str, needed: str) -> Check:
    """A package by its requirement, `NAME>=2` or `NAME>=2,<3`: its version, and its import."""
    try:
        found = version(name)
    except PackageNotFoundError:
        return Check(name, False, "not installed", f"pip install '{needed}'")
    if not admits(needed[len(name) :], found):
        return Check(name, False, found, f"pip install '{needed}'")
    try:
        import_module(module_of(name))
    except Exception as error:  # whatever an import raises
        advice = explanation(error) or f"pip install --force-reinstall '{needed}'"
        return Check(name, False, f"{found}, {type(error).__name__}: {error}", advice)
    return Check(name, True, found)


def _pair() -> str:
    """What pip needs to install torch and torchvision that fit each other."""
    try:
        needed = requirements()
    except PackageNotFoundError:
        return " ".join(TOGETHER)
    return " ".join(f"'{needed[name]}'" for name in TOGETHER)


def _matches() -> list[Check]:
    """Whether torchvision, and torchaudio where something else has brought it, fit torch.

    mmgenre does without torchaudio, but transformers imports it where it is installed.
    """
    name, found = "torch and torchvision", []
    try:
        if faults := torch_faults():
            return [Check(name, False, "; ".join(faults), f"pip install {_pair()}")]
        found = [f"{package} {version(package)}" for package in TOGETHER]
    except PackageNotFoundError:
        return []  # said above, with the package
    try:
        found.append(f"torchaudio {version('torchaudio')}")
        import_module("torchaudio")
    except PackageNotFoundError:
        pass
    except Exception as error:  # whatever a library made for another torch raises
        said = f"{', '.join(found)} do not fit together: {type(error).__name__}: {error}"
        return [Check(name, False, said, "pip uninstall torchaudio: mmgenre does without it")]
    return [Check(name, True, ", ".join(found))]


def _torch() -> str:
    import torch

    if (value := float((torch.ones(8, 8) @ torch.ones(8, 8)).sum())) != 512.0:
        raise ArithmeticError(f"a product of ones gave {value}")
    if torch.cuda.is_available():
        return f"CUDA: {torch.cuda.get_device_name(0)}"
    return f"CPU, {torch.get_num_threads()} threads"


def _devices() -> str:
    import torch
    from torch import distributed

    names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    connected_by = distributed.is_nccl_available() if names else distributed.is_gloo_available()
    if not connected_by:
        raise RuntimeError(f"no {'NCCL' if names else 'gloo'}, so processes cannot be connected")
    launch = "accelerate launch --multi_gpu --num_processes {} -m mmgenre fuse"
    if not names:  # --multi_gpu all the same: with --cpu, accelerate starts one process
        return f"no GPU; CPUs of several machines can be shared: {launch.format('N')}"
    return ", ".join(names) + f"; all of them: {launch.format(len(names))}" * (len(names) > 1)


def _audio() -> str:
    import numpy as np
    import soundfile

    tone = np.sin(np.arange(22_050) / 20).astype(np.float32) / 2
    for kind in ("WAV", "FLAC", "OGG", "MP3"):
        buffer = io.BytesIO()
        soundfile.write(buffer, tone, 22_050, format=kind)
        buffer.seek(0)
        if abs(len(soundfile.read(buffer)[0]) - len(tone)) > 4_000:
            raise ValueError(f"{kind} does not come back as it was written")
    return "wav, flac, ogg, mp3 written and read back"


def _cqt() -> str:
    import numpy as np

    from mmgenre.audio.cqt import cqt_magnitude

    tone = np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050).astype(np.float32)
    if (peak := int(cqt_magnitude(tone)[10].argmax())) != 45:
        raise ArithmeticError(f"A4 was found in bin {peak}, it is bin 45")
    return "A4 in bin 45"


def _images() -> str:
    from PIL import features

    if missing := [name for name in ("jpg", "zlib", "webp") if not features.check(name)]:
        raise ValueError(f"Pillow was built without {', '.join(missing)}")
    return "jpg, png, webp"


def _store() -> str:
    import numpy as np

    from mmgenre.disk.provenance import Provenance
    from mmgenre.disk.store import FeatureStore, write_store

    with tempfile.TemporaryDirectory() as folder:
        rows = np.arange(6, dtype=np.float32).reshape(2, 3)
        path, made = Path(folder) / "x.h5", Provenance("doctor", 1, {})
        with FeatureStore(write_store(path, "x", [(["a", "b"], rows)], made), "x") as store:
            store.verify()
    return "written, synced, read back"


def _recipes() -> str:
    from mmgenre.pipeline.experiment import load_experiment
    from mmgenre.pipeline.recipe import is_experiment, load_recipe, recipe_names

    names = recipe_names()
    for name in names:
        load_experiment(name) if is_experiment(name) else load_recipe(name)
    return f"{len(names)} load"


def _disk() -> Check:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    ok, found = free_gb >= FREE_GB, f"{free_gb:.0f} GB free here, {os.cpu_count()} cores"
    return Check("disk", ok, found, "" if ok else f"make room: runs want {FREE_GB:.0f} GB or more")
