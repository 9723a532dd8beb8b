"""The settings of entity linking, and the annotator that they ask for."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Literal

from pydantic import Field, model_validator

from mmgenre.config import Settings
from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import MmgenreError
from mmgenre.text.entities.annotation import Annotator
from mmgenre.text.entities.babelfy import babelfy
from mmgenre.text.entities.context import Context, EmbeddingContext, TfidfContext
from mmgenre.text.entities.knowledge import KnowledgeBase, open_knowledge
from mmgenre.text.entities.local import LocalAnnotator
from mmgenre.text.entities.ready import ReadyAnnotations, read_annotations
from mmgenre.text.entities.spotlight import spotlight
from mmgenre.text.entities.tables import ENTITIES, SURFACES, KnowledgeError

ENTITIES_VERSION = 1  # raise it with whatever changes which categories a text gets
BUILT_IN = "music"
PATHS = {"knowledge_base", "context_model", "annotations"}  # settings that name files
BUILT_IN_FOLDER = Path(__file__).parent / BUILT_IN


class EntityConfig(Settings):
    """Which annotator finds entities in a text; their categories become words (METHOD sec. 3).

    `knowledge_base`: "music", the one that comes with mmgenre, or a folder with surfaces.tsv and
    entities.tsv (see `tables`); None: "music" for local, the answers' own types for spotlight.
    `nil_threshold`: what a link must score (local: see `LocalAnnotator`; spotlight: sent as its
    confidence; babelfy: its own score). `context_model`: a folder with a sentence-transformers
    model; None: tf-idf. `context_weight`, `case_weight`: see `LocalAnnotator`; 1 as `case_weight`
    suits texts all in small letters. `url`: the service's annotate address. `language`: Babelfy's
    name of it. `annotations`: a JSONL file (see `ready`). Paths are relative to where the command
    runs.
    """

    annotator: Literal["none", "local", "spotlight", "babelfy", "jsonl"] = "none"
    knowledge_base: str | None = None
    nil_threshold: float = Field(0.3, ge=0, le=1)
    context_model: str | None = None
    context_weight: float = Field(20.0, ge=0)
    case_weight: float = Field(0.1, gt=0, le=1)
    url: str | None = None
    language: str = Field("EN", min_length=2)
    annotations: str | None = None

    @model_validator(mode="after")
    def _settings_go_together(self) -> EntityConfig:
        uses = USES[self.annotator]
        for name, field in type(self).model_fields.items():
            if name not in ("annotator", *uses) and getattr(self, name) != field.default:
                users = [annotator for annotator, used in USES.items() if name in used]
                raise ValueError(
                    f"{name} is for annotator {' or '.join(users)}; this is {self.annotator!r}"
                )
        for name in NEEDS[self.annotator]:
            if not getattr(self, name):
                raise ValueError(f"annotator {self.annotator!r} needs {name}")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must begin with http:// or https://, got {self.url!r}")
        return self


USES: dict[str, tuple[str, ...]] = {
    "none": (),
    "local": (
        "knowledge_base",
        "nil_threshold",
        "context_model",
        "context_weight",
        "case_weight",
    ),
    "spotlight": ("url", "knowledge_base", "nil_threshold"),
    "babelfy": ("url", "knowledge_base", "nil_threshold", "language"),
    "jsonl": ("annotations",),
}
NEEDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "local": (),
    "spotlight": ("url",),
    "babelfy": ("url", "knowledge_base"),
    "jsonl": ("annotations",),
}


def annotator_of(config: EntityConfig, row_id: str | None = None) -> Annotator | None:
    """The annotator that the settings ask for; None for "none".

    It is made once a process and kept until its tables change.

    Args:
        config: the settings.
        row_id: the item whose text comes next, for annotations that are listed by item.

    Raises:
        MmgenreError: files that are missing or have faults, no key, a cache that is read-only.
    """
    if config.annotator == "none":
        return None
    with _MAKING:  # lru_cache alone would let two threads make the same
        annotator = _make(config, tuple(map(_state, files_of(config))))
    return annotator.of_row(row_id) if isinstance(annotator, ReadyAnnotations) else annotator


def entity_provenance(config: EntityConfig) -> dict[str, object]:
    """Hashes of the bytes that decide the annotations, for the provenance of text inputs.

    A service's answers cannot be hashed before they come: only its address is known.

    Raises:
        MmgenreError: the model's folder is missing.
    """
    if config.annotator == "none":
        return {}
    content: dict[str, object] = {"version": ENTITIES_VERSION}
    for path in files_of(config):
        content[path.name] = sha256_file(path) if path.is_file() else "missing"
    if config.context_model is not None:
        model = Path(config.context_model)
        hashes = [(p.relative_to(model).as_posix(), sha256_file(p)) for p in _files_in(model)]
        content["context_model"] = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
    return content


def files_of(config: EntityConfig) -> list[Path]:
    """The files that the settings name, there or not."""
    folder = knowledge_folder(config)
    files = [folder / name for name in (SURFACES, ENTITIES)] if folder is not None else []
    return files + ([Path(config.annotations)] if config.annotations is not None else [])


def knowledge_folder(config: EntityConfig) -> Path | None:
    """The folder of the knowledge base, None if none is used."""
    name = config.knowledge_base or (BUILT_IN if config.annotator == "local" else None)
    return BUILT_IN_FOLDER if name == BUILT_IN else Path(name) if name is not None else None


_MAKING = Lock()


@lru_cache(maxsize=4)
def _make(config: EntityConfig, states: tuple[object, ...]) -> Annotator:
    del states  # part of the cache's key: changed files make another annotator
    if config.annotator == "jsonl":
        return read_annotations(Path(config.annotations or ""))
    folder = knowledge_folder(config)
    base = open_knowledge(folder) if folder is not None else None
    if config.annotator == "spotlight":
        return spotlight(config.url or "", config.nil_threshold, base)
    assert base is not None, config  # the settings were accepted
    if config.annotator == "babelfy":
        return babelfy(config.url or "", config.language, config.nil_threshold, base)
    if folder is None or not (folder / SURFACES).is_file():
        raise KnowledgeError(str(folder), [f"{SURFACES}: no such file; annotator local needs it"])
    return LocalAnnotator(
        base,
        _context(config, base),
        nil_threshold=config.nil_threshold,
        context_weight=config.context_weight,
        case_weight=config.case_weight,
    )


def _context(config: EntityConfig, base: KnowledgeBase) -> Context:
    if config.context_model is None:
        return TfidfContext(base.n_entities_by_word(), base.n_entities())
    return EmbeddingContext(Path(config.context_model), base.entities())


def _state(path: Path) -> tuple[str, int, int, int] | None:
    """What changes when a file does."""
    try:
        state = path.stat()
    except OSError:
        return None
    return str(path), state.st_size, state.st_mtime_ns, state.st_ino


def _files_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise MmgenreError(f"{folder}: no such folder; a sentence-transformers model is needed")
    return sorted(p for p in folder.rglob("*") if p.is_file())
