"""Genres into the tags of audio files, and the command that takes them back."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument

from mmgenre.cli import shared
from mmgenre.errors import INTERRUPTS, Refusal

if TYPE_CHECKING:
    from mmgenre.fusion.prediction import Prediction
    from mmgenre.items.manifest import Manifest


def untag(
    undo: Annotated[Path, Argument(help="What predict --write-tags listed, mmgenre-undo.jsonl.")],
    as_json: shared.JsonOption = False,
) -> None:
    """Gives audio files the genres back that stood in their tags before predict --write-tags."""
    from mmgenre.datasets.tag_writing import changes_in, taken_back
    from mmgenre.datasets.tags import TagsError

    n, same, refused = 0, 0, []
    for change in changes_in(undo):
        try:
            is_written = taken_back(change)
            n, same = n + is_written, same + (not is_written)
        except (TagsError, OSError) as error:
            refused.append(
                Refusal(str(change.path), "audio", "not_written", f"{change.path}: {error}")
            )
    lines = [f"{n} file(s) have their genres back; {same} had them"]
    content = {"given_back": n, "had_them": same, "refused": [asdict(r) for r in refused]}
    shared.show(content, lines, as_json=as_json)
    shared.finish(refused)


def write_tags(
    items: Manifest | None,
    predictions: Sequence[Prediction],
    confidence: float,
    undo: Path,
    *,
    dry_run: bool,
    only_untagged: bool,
) -> list[Refusal]:
    """Writes named genres of at least a score into the audio files of their items.

    `only_untagged`: files that have a genre are left as they are.
    """
    if items is None:
        raise typer.BadParameter("--write-tags needs audio files, and vectors alone have none")
    with _undo_told(None if dry_run else undo):
        return _written(
            items, predictions, confidence, undo, dry_run=dry_run, only_untagged=only_untagged
        )


def _written(
    items: Manifest,
    predictions: Sequence[Prediction],
    confidence: float,
    undo: Path,
    *,
    dry_run: bool,
    only_untagged: bool,
) -> list[Refusal]:
    from mmgenre.datasets.tag_writing import planned, write_genres
    from mmgenre.datasets.tags import TagsError

    refused, n, same, kept, unsure = [], 0, 0, 0, 0
    for prediction in predictions:
        scores = {genre.name: genre.score for genre in prediction.genres}
        genres = [name for name in prediction.named if scores[name] >= confidence]
        unsure += not genres
        for source in items[prediction.id].media.get("audio", ()) if genres else ():
            path = Path(source)
            try:
                change = planned(path, genres)
                if change.before == change.after:
                    same += 1
                    continue
                if only_untagged and change.before:
                    kept += 1
                    continue
                before = "; ".join(change.before) or "no genre"
                told = f"{path}: {before} -> {'; '.join(change.after)}"
                if not dry_run:
                    write_genres(change, undo)
                n += 1
                typer.echo(told, err=True)
            except (TagsError, OSError) as error:
                refused.append(Refusal(str(path), "audio", "not_written", f"{path}: {error}"))
    verb = "would be written" if dry_run else "written"
    typer.echo(
        f"genres {verb}: {n} file(s); {same} had them; "
        f"{f'{kept} had others, which stay; ' if only_untagged else ''}"
        f"{unsure} item(s) unsure or below {confidence:g}",
        err=True,
    )
    if n and not dry_run:
        typer.echo(f"to take them back: mmgenre untag {undo}", err=True)
    return refused


@contextmanager
def _undo_told(undo: Path | None) -> Iterator[None]:
    """Whoever ends the writing of tags learns what takes back those that are written."""
    try:
        yield
    except INTERRUPTS as stop:
        if undo is not None and undo.is_file():
            command = shlex.join(["mmgenre", "untag", str(undo)])
            stop.add_note(f"files that were written are listed; to take them back: {command}")
        raise
