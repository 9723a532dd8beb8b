"""The command that names genres."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from mmgenre.cli import shared, tagging
from mmgenre.errors import Refusal

if TYPE_CHECKING:
    from mmgenre.fusion.by_parts import ShardPredicted
    from mmgenre.fusion.prediction import Prediction
    from mmgenre.fusion.ranking import Asked
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


ModelArgument = Annotated[str, Argument(help="Exported model, run, hf:OWNER/NAME, or: catalogue.")]
PathsArgument = Annotated[
    list[str] | None,
    Argument(help="Files, folders of music, manifests; - for a list of them on stdin."),
]
AudioOption = Annotated[list[Path] | None, Option(help="A track of one item; repeat for an album.")]
TextOption = Annotated[Path | None, Option(help="A text file of that item.")]
ImageOption = Annotated[Path | None, Option(help="A cover of that item.")]
ManifestOption = Annotated[Path | None, Option(help="CSV of many items.")]
ByOption = Annotated[shared.Unit, Option(help="What an item of a folder of music is.")]
FeaturesOption = Annotated[
    list[str] | None,
    Option(help="Vectors made elsewhere, NAME=FILE, for a model of such; ids are items."),
]
FusionOption = Annotated[str | None, Option(help="Name of a folder under RUN/fusion.")]
ZeroShotOption = Annotated[
    bool, Option("--zero-shot", help="Compare with --labels, by a frozen CLAP or CLIP alone.")
]
LabelsOption = Annotated[str | None, Option(help="With --zero-shot: genres, joined by commas.")]
ExplainOption = Annotated[
    bool,
    Option("--explain", help="With what modalities, words, seconds and places of a cover add."),
]
RiskOption = Annotated[
    float | None, Option(help="Name no genre that is wrong with a higher probability.")
]
CoverageOption = Annotated[
    float, Option(help="Share of an item's genres in its label set: .8, .9 or .95.")
]
TopOption = Annotated[int, Option(min=1, help="Genres shown for each item.")]
FormatOption = Annotated[Format, Option("--format", help="How they are written.")]
OutOption = Annotated[Path | None, Option(help="File for them; default: stdout.")]
WriteTagsOption = Annotated[
    bool, Option("--write-tags", help="Write the named genres into the audio files' tags.")
]
ConfidenceOption = Annotated[
    float, Option(help="Least score of a genre that is written into tags.")
]
DryRunOption = Annotated[
    bool, Option("--dry-run", help="With --write-tags: only tell what would be written.")
]
ShardOption = Annotated[
    str | None,
    Option(
        help="I/N: the I-th of N shares of a manifest, in a job of many; --out, not I/N, merges."
    ),
]
DaskOption = Annotated[
    str | None,
    Option(help="With --out: workers of this Dask scheduler, or: local, predict a manifest."),
]
UndoOption = Annotated[
    Path, Option(help="With --write-tags: list of what stood there, for mmgenre untag.")
]


def predict(
    model: ModelArgument,
    paths: PathsArgument = None,
    audio: AudioOption = None,
    text: TextOption = None,
    image: ImageOption = None,
    manifest: ManifestOption = None,
    media_root: shared.MediaRootOption = None,
    by: ByOption = shared.Unit.TRACK,
    features: FeaturesOption = None,
    fusion: FusionOption = None,
    entities_url: shared.EntitiesUrlOption = None,
    allow: shared.AllowOption = None,
    zero_shot: ZeroShotOption = False,
    labels: LabelsOption = None,
    explain: ExplainOption = False,
    risk: RiskOption = None,
    coverage: CoverageOption = 0.9,
    top: TopOption = 5,
    form: FormatOption = Format.TABLE,
    out: OutOption = None,
    write_tags: WriteTagsOption = False,
    confidence: ConfidenceOption = 0.5,
    dry_run: DryRunOption = False,
    undo: UndoOption = Path("mmgenre-undo.jsonl"),
    workers: shared.WorkersOption = None,
    shard: ShardOption = None,
    dask: DaskOption = None,
    as_json: shared.JsonOption = False,
) -> None:
    """Names the genres of files, folders, a manifest, or one item of several modalities."""
    form = Format.JSON if as_json else form
    one = bool(audio or text or image)
    _check_sources(one, paths, manifest, features)
    if zero_shot != (labels is not None) or (zero_shot and (features or fusion or allow)):
        raise typer.BadParameter("--zero-shot and --labels belong together, with media alone")
    if explain and (zero_shot or form in (Format.CSV, Format.TSV)):
        raise typer.BadParameter("--explain: of a trained model, as table, json or jsonl")
    if dry_run and not write_tags:
        raise typer.BadParameter("--dry-run belongs to --write-tags")
    listed_only = not one and all(Path(path).suffix.lower() == ".csv" for path in paths or ())
    in_parts = out is not None and listed_only and not zero_shot and not write_tags
    if shard is not None and dask is not None:
        raise typer.BadParameter("give --shard or --dask, not both")
    if (shard or dask) is not None and not in_parts:
        raise typer.BadParameter(
            "--shard and --dask: of manifests or --features, with --out FILE, without --zero-shot "
            "and --write-tags; of a folder of music make a manifest: mmgenre manifest build library"
        )
    given = shared.features_of(features or [])
    from mmgenre.fusion.by_parts import Loading, predict_shard, predicted, work_of
    from mmgenre.fusion.prediction import the_one
    from mmgenre.fusion.ranking import Asked
    from mmgenre.reading.extraction import Shard

    with shared.usage("'--shard'"):
        share = None if shard is None else Shard.parse(shard)
    with shared.usage():
        asked = Asked(explain, risk, coverage)
    if zero_shot and risk is not None:
        raise typer.BadParameter("--risk: of a trained model, whose scores are probabilities")

    with shared.progress_bars() as progress, TemporaryDirectory(prefix="mmgenre-") as covers:
        listed, refused, notes = None, list[Refusal](), tuple[str, ...]()
        if manifest is not None or one:
            listed = _one_or_listed(manifest, media_root or (), audio, text, image)
        elif paths:
            listed, refused = _found(paths, by, media_root or (), Path(covers), progress)
        predictions: list[Prediction] = []
        own, done = list[Refusal](), None
        if labels is not None:
            assert listed is not None
            parts = iter([_by_names_alone(model, labels, listed, progress)])
        else:
            tagger = _tagger(model, fusion, entities_url, allow or ())
            notes = tagger.notes
            how: dict[str, Any] = {"workers": workers, "progress": progress}
            if in_parts and out is not None:
                parts = iter(())
                with work_of(tagger, listed, out, features=given, asked=asked) as work:
                    if share is not None:
                        done = predict_shard(work, share, **how)
                        own += done.refused
                    else:
                        loading = Loading(model, fusion, entities_url, tuple(allow or ()))
                        with predicted(work, **how, dask=dask, loading=loading) as (stream, own):
                            _write(stream, [*refused, *own], form, top, out)
            else:
                parts = _by_tagger(tagger, listed, given, asked, how, one=one)
        # All of them, since stdout is written to when progress has ended: see `progress_bars`.
        for some, why in parts:
            predictions += some
            own += why
        refused += own
    if in_parts:
        if done is not None:
            _show_shard(done, as_json=as_json)
        _end(notes, refused)
        return
    if one:
        the_one(predictions, refused)
    _write(predictions, refused, form, top, out)
    if write_tags:
        refused += tagging.write_tags(listed, predictions, confidence, undo, dry_run=dry_run)
    _end(notes, refused)


def _end(notes: Sequence[str], refused: Sequence[Refusal]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)  # what is on stdout may be for a program
    shared.finish(refused)


def _show_shard(done: ShardPredicted, *, as_json: bool) -> None:
    left = "" if done.is_all_there else "the other shards, and then "
    lines = [f"{done.target}: {done.done:,} of {done.of:,} parts are predicted"]
    lines.append(f"next: {left}the same command without --shard")
    shared.show(done.as_dict(), lines, as_json=as_json)


def _check_sources(
    one: bool,
    paths: Sequence[str] | None,
    manifest: Path | None,
    features: Sequence[str] | None,
) -> None:
    """A usage error unless items come from one place."""
    if one == bool(manifest or features or paths):
        raise typer.BadParameter(
            "give paths, or --audio, --text or --image (any of them) for one item, or --manifest, "
            "--features or both"
        )
    if paths and (manifest or features):
        raise typer.BadParameter("give paths, or --manifest and --features, not both")


def _by_names_alone(
    model: str, labels: str, items: Manifest, progress: Progress
) -> tuple[list[Prediction], list[Refusal]]:
    from mmgenre.fusion.zero_shot import predict_zero_shot

    genres = [genre.strip() for genre in labels.split(",")]
    return predict_zero_shot(model, genres, items, progress=progress)


def _by_tagger(
    tagger: GenreTagger,
    items: Manifest | None,
    features: Mapping[str, Path],
    asked: Asked,
    how: Mapping[str, Any],
    *,
    one: bool,
) -> Iterator[tuple[list[Prediction], list[Refusal]]]:
    if one:
        assert items is not None
        with shared.usage():  # a modality that this model does not know
            tagger.check_modalities(next(iter(items)))
    return tagger.predict_parts(items, features=features, **asdict(asked), **how)


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
    predictions: Iterable[Prediction],
    refused: Sequence[Refusal],
    form: Format,
    top: int,
    out: Path | None,
) -> None:
    """On stdout or into a file, one after another: there may be more than memory holds."""
    from mmgenre.cli.formats import shown
    from mmgenre.disk.files import replacing

    n = 0

    def counted() -> Iterator[Prediction]:
        nonlocal n
        for prediction in predictions:
            n += 1
            yield prediction

    text = shown(counted(), refused, form.value, top)
    if out is None:
        for piece in text:
            typer.echo(piece, nl=False)
        return
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.writelines(text)
    typer.echo(f"{out}: {n:,} item(s)", err=True)
