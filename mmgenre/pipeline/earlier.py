"""The items that encoders have learned on, of which today's manifest may have more.

When the manifest of a run changes, the ids of the earlier one are kept under its digest, if an
encoder has learned on it. If today's manifest says the same of all these items, they have that
digest again, and an encoder that is current for a run of them is current.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mmgenre.disk.bundle import bundle_provenance
from mmgenre.disk.files import finished_folders, replacing
from mmgenre.errors import BundleError
from mmgenre.items.manifest import Manifest


def learned_digest(encoder: Path) -> str | None:
    """The digest of the manifest that an encoder has learned on; None if none is known."""
    with suppress(BundleError):
        made = bundle_provenance(encoder)
        if made is not None and isinstance(made.get("parameters"), dict):
            digest = made["parameters"].get("labels")
            return digest if isinstance(digest, str) and digest.isalnum() else None
    return None


def keep_items(folder: Path, manifest: Manifest) -> None:
    """Keeps the ids of a run's manifest before another one takes its place."""
    file = _file(folder, manifest.task_digest)
    learned = (learned_digest(path) for path in finished_folders(folder / "encoders"))
    if not file.is_file() and manifest.task_digest in learned:
        with replacing(file) as temporary:
            temporary.write_text("\n".join(manifest.ids()), encoding="utf-8")


def earlier_ids(folder: Path, digest: str) -> list[str] | None:
    """The ids of the items of an earlier manifest; None if they were not kept."""
    file = _file(folder, digest)
    return file.read_text(encoding="utf-8").split("\n") if file.is_file() else None


def _file(folder: Path, digest: str) -> Path:
    return folder / f"learned/{digest}.ids"
