"""The settings of entity linking, and the annotator that they name."""

import hashlib
import json
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Literal, Self

from pydantic import Field, model_validator

from mmgenre.config import Settings
from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import FaultsError, MmgenreError
from mmgenre.text.entities.annotation import Annotator
from mmgenre.text.entities.knowledge import ENTITIES, SURFACES, open_knowledge
from mmgenre.text.entities.local import EmbeddingContext, LocalAnnotator, TfidfContext
from mmgenre.text.entities.ready import ReadyAnnotations, read_annotations
from mmgenre.text.entities.services import babelfy, is_private_address, spotlight

ENTITIES_VERSION = 1  # raise it with any change to the categories that a text gets
BUILT_IN = "music"
PATHS = {"knowledge_base", "context_model", "annotations"}  # settings that name files
BUILT_IN_FOLDER = Path(__file__).parent / BUILT_IN
LOCAL = ("knowledge_base", "nil_threshold", "context_model", "context_weight", "case_weight")
# Annotator -> (settings that it requires, settings that it also takes).
SETTINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "none": ((), ()),
    "local": ((), LOCAL),
    "spotlight": (("url",), ("knowledge_base", "nil_threshold")),
    "babelfy": (("url", "knowledge_base"), ("nil_threshold", "language")),
    "jsonl": (("annotations",), ()),
}
_MAKING = Lock()


class EntityConfig(Settings):
    """Which annotator finds entities in a text; their categories become words (METHOD sec. 3).

    `knowledge_base` is "music", the built-in one, or a folder with two tables (see `knowledge`).
    None: "music" for local, the types in the answers for spotlight. `nil_threshold` is the lowest
    score of a link: see `LocalAnnotator`; spotlight's confidence; Babelfy's score. For the two
    weights see `LocalAnnotator`, too. Paths are relative to the working directory.
    """

    annotator: Literal["none", "local", "spotlight", "babelfy", "jsonl"] = "none"
    knowledge_base: str | None = None
    nil_threshold: float = Field(0.3, ge=0, le=1)
    context_model: str | None = None  # folder of a sentence-transformers model; None: tf-idf
    context_weight: float = Field(20.0, ge=0)
    case_weight: float = Field(0.1, gt=0, le=1)  # 1 suits texts all in lower case
    url: str | None = None  # the annotate address of the service
    language: str = Field("EN", min_length=2)  # Babelfy's code
    annotations: str | None = None  # a JSONL file (see `ready`)

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        required, optional = SETTINGS[self.annotator]
        known = {"annotator", *required, *optional}
        for name, field in type(self).model_fields.items():
            if name not in known and getattr(self, name) != field.default:
                users = [key for key, (must, may) in SETTINGS.items() if name in must + may]
                raise ValueError(
                    f"{name} is for annotator {' or '.join(users)}; this is {self.annotator!r}"
                )
        for name in required:
            if not getattr(self, name):
                raise ValueError(f"annotator {self.annotator!r} needs {name}")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must begin with http:// or https://, got {self.url!r}")
        if self.url is not None and not is_private_address(self.url):
            raise ValueError(
                f"url must begin with https://, since texts sent to {self.url!r} could be read on "
                "the way; http:// is for services on this machine"
            )
        return self

    @property
    def knowledge_folder(self) -> Path | None:
        name = self.knowledge_base or (BUILT_IN if self.annotator == "local" else None)
        return BUILT_IN_FOLDER if name == BUILT_IN else Path(name) if name is not None else None

    @property
    def files(self) -> list[Path]:
        """The files that the settings name, whether they exist or not."""
        folder = self.knowledge_folder
        tables = [folder / name for name in (SURFACES, ENTITIES)] if folder is not None else []
        return tables + ([Path(self.annotations)] if self.annotations is not None else [])


def annotator_of(config: EntityConfig, row_id: str | None = None) -> Annotator | None:
    """The annotator that the settings name; None for "none".

    Each process makes it once and keeps it until its files change. `row_id` is the item whose text
    comes next, for annotations that are listed by item. Raises MmgenreError: a file is missing or
    has faults, there is no key, or the cache is read-only.
    """
    if config.annotator == "none":
        return None
    with _MAKING:  # lru_cache alone would let two threads make the same annotator
        annotator = _make(config, tuple(map(_state, config.files)))
    return annotator.of_row(row_id) if isinstance(annotator, ReadyAnnotations) else annotator


def entity_provenance(config: EntityConfig) -> dict[str, object]:
    """Hashes of the files that decide the annotations, for the provenance of text inputs.

    The answers of a service are not known in advance: only its address, a setting, counts. Raises
    MmgenreError if the folder of the context model is missing.
    """
    if config.annotator == "none":
        return {}
    content: dict[str, object] = {"version": ENTITIES_VERSION}
    for path in config.files:
        content[path.name] = sha256_file(path) if path.is_file() else "missing"
    if config.context_model is not None:
        model = Path(config.context_model)
        if not model.is_dir():
            raise MmgenreError(f"{model}: no such folder; a sentence-transformers model is needed")
        files = sorted(path for path in model.rglob("*") if path.is_file())
        hashes = [(path.relative_to(model).as_posix(), sha256_file(path)) for path in files]
        content["context_model"] = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
    return content


@lru_cache(maxsize=4)
def _make(config: EntityConfig, states: tuple[object, ...]) -> Annotator:
    del states  # part of the cache's key: changed files make another annotator
    if config.annotator == "jsonl":
        return read_annotations(Path(config.annotations or ""))
    base = open_knowledge(folder) if (folder := config.knowledge_folder) else None
    if config.annotator == "spotlight":
        return spotlight(config.url or "", config.nil_threshold, base)
    assert base is not None, config  # EntityConfig requires a folder
    if config.annotator == "babelfy":
        return babelfy(config.url or "", config.language, config.nil_threshold, base)
    if not config.files[0].is_file():
        raise FaultsError(str(folder), [f"{SURFACES}: no such file; annotator local needs it"])
    model = config.context_model
    context = (
        TfidfContext(base) if model is None else EmbeddingContext(Path(model), base.entities())
    )
    settings = config.model_dump(include={"nil_threshold", "context_weight", "case_weight"})
    return LocalAnnotator(base, context, **settings)


def _state(path: Path) -> tuple[str, int, int, int] | None:
    """Differs after a change to the file."""
    with suppress(OSError):
        state = path.stat()
        return str(path), state.st_size, state.st_mtime_ns, state.st_ino
    return None
