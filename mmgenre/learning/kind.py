"""What a modality is to the rest of the library: a `Kind`, with its `EncoderType`s."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from mmgenre.config import Settings
from mmgenre.errors import RecipeError

ENTRY_POINTS = "mmgenre.encoders"  # where packages list their encoders
FROZEN = "mmgenre.frozen.types:type_named"


@dataclass(frozen=True)
class EncoderType:
    """One way to embed a modality. An encoder is one file, and one line in its kind's dict.

    Functions that need torch are given as "module:name" and imported when first used, so that
    plans and fingerprints do without it.

    `make`: (section of the recipe, target name, input store, training row ids) -> an untrained
    `mmgenre.learning.encoder.Encoder`; whatever is fitted sees the training rows only.
    """

    make: str | Callable[..., Any]
    load: str  # (`Bundle`) -> the encoder that a folder describes; its weights are loaded later
    # (section, input store) -> what the encoder reads, without torch, for exported models
    source: str | None = None
    uses: tuple[str, ...] = ("embedding_dim", "training")  # what decides what is learned
    reads: Callable[[Any], Settings] = lambda section: section.input  # of its input store
    # (section): raises, before any work, if what it needs is missing
    check: str | Callable[[Any], Any] | None = None
    label: Callable[[Any], str] | None = None  # section -> name of the network in reports
    # Settings that name files or folders which `load` opens; those of inputs count anyway.
    opens: tuple[str, ...] = ()
    # Made from the training rows without their labels: not trained, no scores of its own. A
    # function of the section where settings decide.
    fixed: bool | Callable[[Any], bool] = False
    given: bool = False  # if fixed: vectors to be scaled as those of other programs are
    # section -> what it depends on beside its settings and inputs, for its fingerprint
    content: Callable[[Any], Mapping[str, object]] = lambda _: {}
    # (`Bundle`): whether files of others that it opens lie in the model's own folder.
    carried: Callable[[Any], bool] = lambda _: False
    view: str | None = None  # in names of folders and in tables; None: the end of its name

    def is_fixed(self, section: Any) -> bool:
        """Whether it is made, and not trained, with these settings."""
        return self.fixed(section) if callable(self.fixed) else self.fixed


@dataclass(frozen=True)
class Pieces:
    """In which pieces the rows of a medium fall, and rows without one, to see what it adds.

    A row here is what `Kind.read` gives, with the input settings it was read by. A piece is a key
    that all rows of an item share, so that one piece is left out for all views at once.

    `of`: (rows of the views, files or inline texts of the row, number of rows of the item) -> the
    pieces in their order. `without`: (row, input settings, a piece, in a tuple) -> the row without
    it. `divides`: input settings -> whether their rows fall into pieces. `alone`: piece -> a row of
    nothing else; pieces of which every encoder knows nothing are then left out. `most`: rows of the
    views -> how many rows without a piece may be embedded; None: as many as there are pieces. Of
    more pieces, those are searched that matter most, and `without` must take several of them.
    """

    of: Callable[[Sequence[tuple[NDArray[Any], Any]], Sequence[Path | str], int], list[Any]]
    without: Callable[[NDArray[Any], Any, tuple[Any, ...]], NDArray[Any]]
    divides: Callable[[Any], bool] = lambda _: True
    alone: Callable[[Any], NDArray[Any]] | None = None
    most: Callable[[Sequence[tuple[NDArray[Any], Any]]], int | None] = lambda _: None


@dataclass(frozen=True)
class Kind:
    """Everything in which media differ.

    `content` gives the files and folders that the settings of a section name, by dotted setting.
    Paths become absolute, must exist before any work, and count by what they hold. `check_input`
    raises an error, before media are read, if files that input settings name have faults, for which
    no single item must be refused.
    """

    settings: type[Settings]  # of the recipe's section of a modality of this kind
    inputs: type[Settings]  # of its input stores
    # (files or inline texts of a row, input settings, row id) -> the row to store
    read: Callable[[Sequence[Path | str], Any, str], NDArray[Any]]
    is_ragged: Callable[[Any], bool]  # input settings -> whether the rows differ in length
    encoders: Mapping[str, EncoderType]  # by the name that a recipe gives in `encoders`
    gone: Mapping[str, str] = field(
        default_factory=dict
    )  # encoders of earlier versions -> what to write
    content: Callable[[Any], Mapping[str, Path]] = lambda _: {}
    check_input: Callable[[Any], object] = lambda _: None
    input_paths: Mapping[str, set[str]] | None = None  # that name files; for pydantic's `exclude`
    # input settings -> what these files hold, which counts instead of their names
    input_content: Callable[[Any], Mapping[str, object]] = lambda _: {}
    # input settings -> how a row is made of a file's path and bytes, which are then read once for
    # their hash, too; None: only by `read`
    decode: Callable[[Any], Callable[[Path, bytes, Any], NDArray[Any]] | None] = lambda _: None
    # input settings -> "module:function" of (rows that were read, input settings): a model that
    # makes the rows to store of several at a time; None: what was read is stored
    embed: Callable[[Any], str | None] = lambda _: None
    # input settings -> a module that finds near twins, if any: PRINTS, a name of its fingerprints;
    # prints_of(rows), these as bytes; twins_in(input store, progress) -> `Twins`
    twins: Callable[[Any], str | None] = lambda _: None
    pieces: str | None = None  # "module:NAME" of `Pieces`; None: a row is one thing

    def files(self, section: Any) -> dict[str, str]:
        """What a section names of files and folders, by dotted setting."""
        return {setting: str(path) for setting, path in self.content(section).items()}

    def files_of_inputs(self, reads: Settings) -> dict[str, str]:
        """As `files`, of the settings of an input store alone."""
        section: Any = self.settings
        return self.files(section.model_construct(input=reads))

    def encoder(self, name: str) -> EncoderType:
        """That of a name: built in, a frozen model, entry point, or `package.module:NAME`.

        Raises:
            RecipeError: it is none of these.
        """
        if name in self.encoders:
            return self.encoders[name]
        if name in self.gone:
            raise RecipeError(f"encoder {name!r}: {self.gone[name]}")
        if (model := resolve(FROZEN)(name)) is not None:
            return cast(EncoderType, model)
        outside = _entry_points()
        found = resolve(outside.get(name, name)) if name in outside or ":" in name else None
        if isinstance(found, EncoderType):
            return found
        what = "is no EncoderType" if found is not None else "is not known here"
        raise RecipeError(
            f"encoder {name!r} {what}; known: {', '.join([*self.encoders, *outside])}; or give a "
            "frozen model (hf:OWNER/NAME, timm:NAME, dir:PATH; see mmgenre encoders), or one of "
            "your own as package.module:NAME"
        )


def is_foreign(encoder: str) -> bool:
    """Whether a name is that of code to import or of a folder to open, which are not of ours.

    Models of the hub are neither: they are looked for in its cache, and have no code that is run.

    >>> is_foreign("network"), is_foreign("hf:owner/name"), is_foreign("my.encoders:RHYTHM")
    (False, False, True)
    """
    return ":" in encoder and not encoder.startswith(("hf:", "timm:"))


def address_in(reads: Settings) -> str | None:
    """The address of the service that finds entities in texts, if one is used."""
    found: str | None = getattr(getattr(reads, "entities", None), "url", None)
    return found


@cache
def _entry_points() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}


def resolve(name: str | Callable[..., Any]) -> Any:
    """`package.module:NAME` -> the object; RecipeError if it cannot be imported.

    Modules of Python's own are not: some act when they are imported, and none has an encoder. A
    function is returned as it is.
    """
    if not isinstance(name, str):
        return name
    module, _, attribute = name.partition(":")
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise RecipeError(f"{name}: is of Python's own library, where no encoder is")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        top = module.partition(".")[0]
        is_unknown = isinstance(error, ModuleNotFoundError) and error.name == top
        remedy = (
            ". The command mmgenre does not look in the current folder: install the package of "
            f"{top}, or name the folder that it lies in, as in: PYTHONPATH=. mmgenre ..."
        )
        raise RecipeError(
            f"{name}: cannot be imported: {error}{remedy if is_unknown else ''}"
        ) from error
