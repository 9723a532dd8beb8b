"""Commands that name genres, and write them into tags."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from mmgenre.cli import shared
from mmgenre.errors import INTERRUPTS, Refusal

if TYPE_CHECKING:
    from mmgenre.fusion.prediction import Prediction
    from mmgenre.fusion.tagger import GenreTagger
    from mmgenre.items.manifest import Manifest
    from mmgenre.progress import Progress

STDIN = "-"


class Format(StrEnum):
    """How predictions are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"


def predict(
    model: Annotated[
        str,
        Argument(help="Exported model, run, or hf:OWNER/NAME."),
    ],
    paths: Annotated[
        list[str] | None,
        Argument(help="Files, folders of music, manifests; - for a list of them on stdin."),
    ] = None,
    audio: Annotated[
        list[Path] | None, Option(help="A track of one item; repeat for an album.")
    ] = None,
    text: Annotated[Path | None, Option(help="A text file of that item.")] = None,
    image: Annotated[Path | None, Option(help="A cover of that item.")] = None,
    manifest: Annotated[Path | None, Option(help="CSV of many items.")] = None,
    media_root: shared.MediaRootOption = None,
    by: Annotated[
        shared.Unit, Option(help="What an item of a folder of music is.")
    ] = shared.Unit.TRACK,
    features: Annotated[
        list[str] | None,
        Option(help="Vectors made elsewhere, NAME=FILE, for a model of such; ids are items."),
    ] = None,
    fusion: Annotated[str | None, Option(help="Name of a folder under RUN/fusion.")] = None,
    entities_url: shared.EntitiesUrlOption = None,
    allow: shared.AllowOption = None,
    zero_shot: Annotated[
        bool, Option("--zero-shot", help="Compare with --labels, by a frozen CLAP or CLIP alone.")
    ] = False,
    labels: Annotated[
        str | None, Option(help="With --zero-shot: genres, joined by commas.")
    ] = None,
    explain: Annotated[
        bool,
        Option("--explain", help="With what modalities, words, seconds and places of a cover add."),
    ] = False,
    risk: Annotated[
        float | None, Option(help="Name no genre that is wrong with a higher probability.")
    ] = None,
    coverage: Annotated[
        float, Option(help="Share of an item's genres in its label set: .8, .9 or .95.")
    ] = 0.9,
    top: Annotated[int, Option(min=1, help="Genres shown for each item.")] = 5,
    form: Annotated[Format, Option("--format", help="How they are written.")] = Format.TABLE,
    out: Annotated[Path | None, Option(help="File for them; default: stdout.")] = None,
    write_tags: Annotated[
        bool, Option("--write-tags", help="Write the named genres into the audio files' tags.")
    ] = False,
    confidence: Annotated[
        float, Option(help="Least score of a genre that is written into tags.")
    ] = 0.5,
    dry_run: Annotated[
        bool, Option("--dry-run", help="With --write-tags: only tell what would be written.")
    ] = False,
    undo: Annotated[
        Path, Option(help="With --write-tags: list of what stood there, for mmgenre untag.")
    ] = Path("mmgenre-undo.jsonl"),
    as_json: shared.JsonOption = False,
) -> None:
    """Names the genres of files, folders, a manifest, or one item of several modalities."""
    form = Format.JSON if as_json else form
    one = bool(audio or text or image)
    if one == bool(manifest or features or paths):
        raise typer.BadParameter(
            "give paths, or --audio, --text or --image (any of them) for one item, or --manifest, "
            "--features or both"
        )
    if paths and (manifest or features):
        raise typer.BadParameter("give paths, or --manifest and --features, not both")
    if zero_shot != (labels is not None) or (zero_shot and (features or fusion or allow)):
        raise typer.BadParameter("--zero-shot and --labels belong together, with media alone")
    if explain and (zero_shot or form in (Format.CSV, Format.TSV)):
        raise typer.BadParameter("--explain: of a trained model, as table, json or jsonl")
    if dry_run and not write_tags:
        raise typer.BadParameter("--dry-run belongs to --write-tags")
    given = shared.features_of(features or [])
    from mmgenre.fusion.prediction import the_one
    from mmgenre.fusion.ranking import Asked

    with shared.usage():
        Asked(explain, risk, coverage)
    if zero_shot and risk is not None:
        raise typer.BadParameter("--risk: of a trained model, whose scores are probabilities")

    with ExitStack() as stack:
        progress = stack.enter_context(shared.progress_bars())
        covers = Path(stack.enter_context(TemporaryDirectory(prefix="mmgenre-")))
        listed, refused, notes = None, list[Refusal](), tuple[str, ...]()
        if manifest is not None or one:
            listed = _one_or_listed(manifest, media_root or (), audio, text, image)
        elif paths:
            listed, refused = _found(paths, by, media_root or (), covers, progress)
        if labels is not None:
            from mmgenre.fusion.zero_shot import predict_zero_shot

            assert listed is not None
            genres = [genre.strip() for genre in labels.split(",")]
            predictions, own = predict_zero_shot(model, genres, listed, progress=progress)
        else:
            tagger = _tagger(model, fusion, entities_url, allow or ())
            if one:
                assert listed is not None
                with shared.usage():  # a modality that this model does not know
                    tagger.check_modalities(next(iter(listed)))
            predictions, own = tagger.predict_manifest(
                listed,
                features=given,
                explain=explain,
                risk=risk,
                coverage=coverage,
                progress=progress,
            )
            notes = tagger.notes
        refused += own
    if one:
        the_one(predictions, refused)
    _write(predictions, refused, form, top, out)
    if write_tags:
        if listed is None:
            raise typer.BadParameter("--write-tags needs audio files, and vectors alone have none")
        with _undo_told(undo if not dry_run else None):
            refused += _write_tags(listed, predictions, confidence, undo, dry_run=dry_run)
    for note in notes:
        typer.echo(f"note: {note}", err=True)  # what is on stdout may be for a program
    shared.finish(refused)


def _one_or_listed(
    manifest: Path | None,
    media_roots: Sequence[Path],
    audio: Sequence[Path] | None,
    text: Path | None,
    image: Path | None,
) -> Manifest:
    """The items of a manifest, or the one item of some files; InputError if none is there."""
    from mmgenre.fusion.prediction import check_is_there, one_item
    from mmgenre.items.manifest import Manifest

    if manifest is not None:
        return Manifest.read(manifest, media_roots=media_roots)
    item = one_item(audio, text, image)
    check_is_there(item)
    return Manifest([item])


def _found(
    paths: Sequence[str],
    by: shared.Unit,
    media_roots: Sequence[Path],
    covers: Path,
    progress: Progress,
) -> tuple[Manifest, list[Refusal]]:
    """The items of files, folders and manifests, and the files whose tags have faults."""
    from mmgenre.datasets.paths import items_at

    listed, faults = items_at(
        _with_stdin(paths),
        covers=covers,
        by="album" if by is shared.Unit.ALBUM else "track",
        media_roots=media_roots,
        progress=progress,
    )
    told = [(fault.path, f"{fault.path}: {fault.reason}: {fault.detail}") for fault in faults]
    return listed, [Refusal(path, "all", "unreadable", detail) for path, detail in told]


def _tagger(
    model: str, fusion: str | None, entities_url: str | None, allow: Sequence[str]
) -> GenreTagger:
    """Loads a model, and says which and under what licence."""
    from mmgenre.fusion.tagger import GenreTagger

    tagger = GenreTagger.from_pretrained(model, fusion, entities_url=entities_url, allow=allow)
    typer.echo(f"fusion: {tagger.name}", err=True)
    if tagger.licence is not None:
        typer.echo(f"licence of the frozen models: {tagger.licence}", err=True)
    return tagger


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


def _with_stdin(paths: Sequence[str]) -> list[str]:
    """Paths, with those that stand line by line on stdin where one is `-`."""
    found: list[str] = []
    for path in paths:
        if path == STDIN:
            found += [line for line in sys.stdin.read().splitlines() if line]
        else:
            found.append(path)
    return found


def _write(
    predictions: Sequence[Prediction],
    refused: Sequence[Refusal],
    form: Format,
    top: int,
    out: Path | None,
) -> None:
    from mmgenre.cli.formats import shown
    from mmgenre.disk.files import replacing

    content = shown(predictions, refused, form.value, top)
    if out is None:
        typer.echo(content, nl=False)
        return
    with replacing(out) as temporary:
        temporary.write_text(content, encoding="utf-8")
    typer.echo(f"{out}: {len(predictions):,} item(s)", err=True)


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


def _write_tags(
    items: Manifest,
    predictions: Sequence[Prediction],
    confidence: float,
    undo: Path,
    *,
    dry_run: bool,
) -> list[Refusal]:
    """Writes named genres of at least a score into the audio files of their items."""
    from mmgenre.datasets.tag_writing import planned, write_genres
    from mmgenre.datasets.tags import TagsError

    refused, n, same, unsure = [], 0, 0, 0
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
        f"{unsure} item(s) unsure or below {confidence:g}",
        err=True,
    )
    if n and not dry_run:
        typer.echo(f"to take them back: mmgenre untag {undo}", err=True)
    return refused
