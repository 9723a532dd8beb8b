"""What is predicted of an item, whoever predicts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

from mmgenre.disk.files import as_on_disk
from mmgenre.errors import InputError, Refusal
from mmgenre.items.item import Item
from mmgenre.items.modalities import Modality

SHOWN = 6  # genres of a prediction in a notebook
IN_REPR = 3  # genres


@dataclass(frozen=True)
class Genre:
    """A genre and its score: see `Prediction.kind`."""

    name: str
    score: float


@dataclass(frozen=True)
class Neighbour:
    """A training item that is similar."""

    id: str
    similarity: float  # mean cosine over the inputs that both have
    genres: tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """A piece of a medium, and what it adds to the score of the likeliest genre."""

    name: str  # a word or entity
    share: float  # score with it less score without it


@dataclass(frozen=True)
class Span:
    """Seconds of a track, and what they add."""

    start_s: float
    end_s: float
    share: float
    track: int = 0  # of an album


@dataclass(frozen=True)
class Reasons:
    """What each modality, and each piece of one, adds to the score of the likeliest genre.

    `base` and the shares of modalities add up to the score. Those of pieces do not: each is the
    score less that without this piece (`mmgenre.fusion.pieces`).
    """

    genre: str
    base: float  # its score for an item of which nothing is known
    shares: Mapping[str, float]  # by modality, or vectors made elsewhere: exact Shapley values
    alone: Mapping[str, Genre]  # the likeliest genre by each alone
    words: tuple[Piece, ...] = ()  # of texts, those that change the score most first
    seconds: tuple[Span, ...] = ()  # of tracks, in their order
    cover: tuple[tuple[float, ...], ...] = ()  # a grid, rows x columns of shares
    nearest: tuple[Neighbour, ...] = ()  # training items, most similar first
    notes: tuple[str, ...] = ()  # of which pieces nothing is said


@dataclass(frozen=True)
class Prediction:
    """The genres of an item, likeliest first."""

    id: str
    kind: Literal["probability", "cosine"]  # (-1 to 1) of a cosine head of an earlier version
    genres: tuple[Genre, ...]
    named: tuple[str, ...]  # the genres that the model would give the item
    used: tuple[str, ...]  # the modalities, and vectors made elsewhere, it was judged by
    refused: tuple[Refusal, ...] = ()  # its media that could not be used
    reasons: Reasons | None = None  # if they were asked for
    likely: tuple[str, ...] = ()  # a label set of the coverage that was asked for, likeliest first
    unsure: str | None = None  # why no genre is named, if so
    notes: tuple[str, ...] = ()  # on its media: "text: 3 of 48 words known"

    def _repr_html_(self) -> str:
        """What a notebook shows: the likeliest genres, those that it names in bold."""
        lines = []
        for genre in self.genres[:SHOWN]:
            name, width = escape(genre.name), 100 * min(max(genre.score, 0.0), 1.0)
            name = f"<strong>{name}</strong>" if genre.name in self.named else name
            bar = f"width:{width:.1f}%;height:.8em;min-width:1px;background:#5b8fc7"
            lines.append(
                f"<tr><td style='text-align:left'>{name}</td><td style='width:12em'>"
                f"<div aria-hidden='true' style='{bar}'></div></td><td>{genre.score:.2f}</td></tr>"
            )
        unsure = f"<p>Unsure: {escape(self.unsure)}</p>" if self.unsure else ""
        used = escape(", ".join(self.used))
        return f"<p>{escape(self.id)}, from {used}</p>{unsure}<table>{''.join(lines)}</table>"

    def __repr__(self) -> str:
        """`Prediction('a', Jazz 0.912, Rock 0.040, ...; named Jazz; from audio)`."""
        best = [f"{genre.name} {genre.score:.3f}" for genre in self.genres[:IN_REPR]]
        more = ["..."] if len(self.genres) > IN_REPR else []
        named = f"named {', '.join(self.named)}" if self.named else f"unsure: {self.unsure}"
        told = [", ".join([*best, *more]), named, f"from {', '.join(self.used)}"]
        return f"{type(self).__name__}({self.id!r}, {'; '.join(told)})"

    def as_row(self) -> dict[str, Any]:
        """A row of a table: id, named (joined by semicolons), unsure, used, genre_k, score_k."""
        row: dict[str, Any] = {"id": self.id, "named": ";".join(self.named)}
        row |= {"unsure": self.unsure, "used": ";".join(self.used)}
        for k, genre in enumerate(self.genres, 1):
            row |= {f"genre_{k}": genre.name, f"score_{k}": genre.score}
        return row


def one_item(
    audio: Path | str | Sequence[Path | str] | None = None,
    text: Path | str | None = None,
    image: Path | str | None = None,
) -> Item:
    """An item of media; `text` is a file if a Path, else the text itself.

    Raises:
        ValueError: nothing is given.
    """
    tracks = [audio] if isinstance(audio, str | Path) else audio or []
    media: dict[Modality, tuple[Path | str, ...]] = {
        "audio": tuple(Path(track) for track in tracks),
        "text": () if text is None else (text,),
        "image": () if image is None else (Path(image),),
    }
    given = {modality: files for modality, files in media.items() if files}
    if not given:
        raise ValueError("give at least one of audio, text, image")
    return Item("item", media=given)


def check_is_there(item: Item) -> None:
    """InputError if all that an item has are files, none of which is there; models take longer."""
    media = [medium for of_modality in item.media.values() for medium in of_modality]
    if all(isinstance(medium, Path) and _is_gone(medium) for medium in media):
        raise InputError("missing", str(media[0]), "no such file")


def _is_gone(path: Path) -> bool:
    try:
        as_on_disk(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):  # there, perhaps: to read it says what is wrong
        pass
    return False


def the_one(predictions: Sequence[Prediction], refused: Sequence[Refusal]) -> Prediction:
    """The prediction of a single item.

    Raises:
        InputError: it has none; of the first of its media that were refused.
    """
    if predictions:
        return predictions[0]
    code, text = refused[0].code, refused[0].detail  # "file: what is wrong [code]"
    where, _, detail = text.removesuffix(f" [{code}]").partition(": ")
    raise InputError(code, where, detail)
