"""The command that names genres."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from mmgenre.cli import shared, tagging

if TYPE_CHECKING:
    from mmgenre.fusion.by_parts import ShardPredicted

STDIN = "-"


class Format(StrEnum):
    """How predictions are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"
    HDF5 = "hdf5"


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
OutOption = Annotated[Path | None, Option(help="File for them; default: stdout, for text.")]
WriteTagsOption = Annotated[
    bool, Option("--write-tags", help="Write the named genres into the audio files' tags.")
]
ConfidenceOption = Annotated[
    float, Option(help="Least score of a genre that is written into tags.")
]
DryRunOption = Annotated[
    bool, Option("--dry-run", help="With --write-tags: only tell what would be written.")
]
OnlyUntaggedOption = Annotated[
    bool, Option("--only-untagged", help="With --write-tags: leave files that have a genre.")
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
    only_untagged: OnlyUntaggedOption = False,
    undo: UndoOption = Path("mmgenre-undo.jsonl"),
    workers: shared.WorkersOption = None,
    shard: ShardOption = None,
    dask: DaskOption = None,
    as_json: shared.JsonOption = False,
) -> None:
    """Names the genres of files, folders, a manifest, or one item of several modalities."""
    if zero_shot != (labels is not None):
        raise typer.BadParameter("--zero-shot and --labels belong together, with media alone")
    if dry_run and not write_tags:
        raise typer.BadParameter("--dry-run belongs to --write-tags")
    if only_untagged and not write_tags:
        raise typer.BadParameter("--only-untagged belongs to --write-tags")
    given = shared.features_of(features or [])
    from mmgenre.fusion.by_parts import Loading
    from mmgenre.fusion.naming import Naming, Output, Source, name_genres
    from mmgenre.fusion.ranking import Asked
    from mmgenre.fusion.tagger import UnreadModalityError
    from mmgenre.reading.extraction import Shard

    with shared.usage("'--shard'"):
        share = None if shard is None else Shard.parse(shard)
    with shared.usage():
        task = Naming(
            Loading(model, fusion, entities_url, tuple(allow or ())),
            Source(
                _with_stdin(paths) if paths else None, manifest, given, audio or (), text, image,
                media_root or (), by.value,
            ),
            Output("json" if as_json else form.value, top, out),
            Asked(explain, risk, coverage),
            labels=None if labels is None else [genre.strip() for genre in labels.split(",")],
            keep=write_tags,
            shard=share,
            dask=dask,
        )  # fmt: skip
    with shared.progress_bars() as progress:
        try:
            named = name_genres(task, workers=workers, progress=progress, tell=_tell)
        except UnreadModalityError as error:
            raise typer.BadParameter(str(error)) from None
    if named.shard is not None:
        _show_shard(named.shard, as_json=as_json)
    elif out is not None:
        typer.echo(f"{out}: {named.n_written:,} item(s)", err=True)
    else:
        for piece in task.output.text(named.predictions, named.refused):
            typer.echo(piece, nl=False)
    refused = named.refused
    if write_tags:
        refused += tagging.write_tags(
            named.items,
            named.predictions,
            confidence,
            undo,
            dry_run=dry_run,
            only_untagged=only_untagged,
        )
    for note in named.notes:
        typer.echo(f"note: {note}", err=True)  # what is on stdout may be for a program
    shared.finish(refused)


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def _show_shard(done: ShardPredicted, *, as_json: bool) -> None:
    left = "" if done.is_all_there else "the other shards, and then "
    lines = [f"{done.target}: {done.done:,} of {done.of:,} parts are predicted"]
    lines.append(f"next: {left}the same command without --shard")
    shared.show(done.as_dict(), lines, as_json=as_json)


def _with_stdin(paths: Sequence[str]) -> list[str]:
    """Paths, with those that stand line by line on stdin where one is `-`."""
    found: list[str] = []
    for path in paths:
        if path == STDIN:
            found += [line for line in sys.stdin.read().splitlines() if line]
        else:
            found.append(path)
    return found
