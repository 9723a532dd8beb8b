"""Exported model folders: a list of all their files, and where the hub keeps them."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version
from pathlib import Path

from mmgenre.disk.bundle import bundle_provenance
from mmgenre.disk.files import read_json, swap, temporary_name, write_json
from mmgenre.disk.provenance import sha256_file
from mmgenre.disk.records import read_record, sealed
from mmgenre.errors import BundleError, MmgenreError, WeightsError
from mmgenre.frozen.settings import ModelName
from mmgenre.fusion.whole import ENCODERS, encoder_parent

EXPORT, FORMAT = "export.json", 1
KEYS = {"format", "name", "made_by", "files"}
CARD, ONNX = "README.md", "onnx"
NOTES = "notes.json"  # what of its data a user must know; of most models there is nothing


def list_files(folder: Path, name: str) -> None:
    """Writes the list of the files of an exported model, with the sha256 of each and its own.

    The card is not among them: people write in it.
    """
    apart = (folder / EXPORT, folder / CARD)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p not in apart)
    sums = {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}
    made_by = f"mmgenre {version('mmgenre')}"
    about = {"format": FORMAT, "name": name, "made_by": made_by, "files": sums}
    write_json(folder / EXPORT, sealed(about))


def notes_of(folder: Path) -> tuple[str, ...]:
    """What a user must know of what an exported model learned from, in sentences.

    BundleError if its file is damaged.
    """
    if not (folder / NOTES).is_file():
        return ()
    try:
        notes = read_json(folder / NOTES)
        if not (isinstance(notes, list) and all(isinstance(note, str) for note in notes)):
            raise ValueError("not a list of sentences")
    except ValueError as error:
        raise BundleError(f"{folder / NOTES}: damaged ({error}); copy the folder again") from None
    return tuple(notes)


def copy_model(model: Path, target: Path, name: str) -> Path:
    """Copies the model folder of a fusion, and lists its files. MmgenreError: `target` exists."""
    if target.exists():
        raise MmgenreError(f"{target}: exists; give the name of a new folder, or move it away")
    parents = (bundle_provenance(model) or {}).get("parents", {})
    if (
        any(name.startswith(encoder_parent("")) for name in parents)
        and not (model / ENCODERS).is_dir()
    ):
        raise BundleError(
            f"{model}: made by an earlier version, and does not carry its encoders; make it again: "
            f"mmgenre fuse --run {model.absolute().parents[2]}"
        )
    beside = temporary_name(target)
    try:
        shutil.copytree(model, beside, ignore=shutil.ignore_patterns(".*", EXPORT))
        list_files(beside, name)
        swap(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def check_exported(folder: Path) -> None:
    """BundleError if an exported model lacks a file or has another one, or is a newer version's.

    Nothing is checked of a folder that was not exported.
    """
    if not (folder / EXPORT).exists():
        return
    try:
        about = read_record(folder / EXPORT)
        number, files = int(about["format"]), {str(n): str(s) for n, s in about["files"].items()}
        if number <= FORMAT and set(about) != KEYS:  # the name of its checksum was changed, too
            raise ValueError(f"it has {', '.join(sorted(about))}")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{folder / EXPORT}: damaged ({type(error).__name__}: {error}); copy the folder again"
        ) from None
    if number > FORMAT:
        raise BundleError(
            f"{folder}: exported by a newer version ({about.get('made_by')}); update mmgenre"
        )
    for name, expected in files.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleError(f"{folder / EXPORT}: names {name!r}, which is not in the folder")
        if name == CARD:  # earlier versions listed it
            continue
        if not path.is_file():
            raise BundleError(f"{path}: is gone from the exported model; copy the folder again")
        if sha256_file(path) != expected:
            raise BundleError(
                f"{path}: not the file that was exported (sha256); copy the folder again"
            )


def is_on_hub(model: Path | str) -> bool:
    """Whether a model is named as one of the hub, hf:OWNER/NAME[@REVISION]."""
    return str(model).startswith("hf:")


def downloaded(name: str) -> Path:
    """The folder of a model of the hub: from its cache, or fetched once because it is asked for.

    Raises:
        WeightsError: it cannot be had: no network, no such model, or HF_HUB_OFFLINE forbids it.
        BundleError: what the hub has under this name is no exported model.
    """
    from huggingface_hub import snapshot_download  # takes its time to import
    from huggingface_hub.errors import LocalEntryNotFoundError

    model = ModelName.parse(name)
    offline = os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
    try:
        folder = Path(snapshot_download(model.name, revision=model.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        try:
            if offline:
                raise LocalEntryNotFoundError("HF_HUB_OFFLINE is set")
            folder = Path(snapshot_download(model.name, revision=model.revision))
        except Exception as error:  # of several libraries: no network, no such model, no permission
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            raise WeightsError(
                f"{name}: is not on this machine, and cannot be fetched ({why:.300}). Where there "
                f"is a network: hf download {model.name} --local-dir FOLDER, and give FOLDER"
            ) from None
    if not (folder / EXPORT).is_file():
        raise BundleError(f"{name}: its repository has no {EXPORT}, so no exported mmgenre model")
    return folder


def push(folder: Path, repository: str, *, private: bool = False) -> str:
    """Uploads an exported model to the hub, made there if need be; returns its address.

    The token is that of `hf auth login` or HF_TOKEN. BundleError: damaged, or no exported model.
    """
    from huggingface_hub import HfApi

    if not (folder / EXPORT).is_file():
        raise BundleError(f"{folder}: not an exported model; make one: mmgenre export RUN MODEL")
    check_exported(folder)
    hub = HfApi()
    address = hub.create_repo(repository, private=private, exist_ok=True)
    hub.upload_folder(repo_id=repository, folder_path=folder)
    return str(address)
