"""Commands on manifests: build, check, dedupe, split, info."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from mmgenre.cli import shared
from mmgenre.cli.shared import JsonOption, OutOption, finish, progress_bars, show
from mmgenre.datasets.layouts import LAYOUTS


class Unit(StrEnum):
    """What `--by` counts in."""

    TRACK = "track"
    ALBUM = "album"
    ARTIST = "artist"


def _known_layout(name: str) -> str:
    if name not in LAYOUTS:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(LAYOUTS)}")
    return name


def build(
    name: Annotated[
        str,
        Argument(
            metavar="LAYOUT",
            callback=_known_layout,
            help="; ".join(f"{name}: {layout.help}" for name, layout in LAYOUTS.items()) + ".",
        ),
    ],
    folder: Annotated[Path, Argument(help="Folder of the files; for cls and csv also the file.")],
    out: OutOption,
    audio: Annotated[
        Path | None, Option(help="Audio files named by track id; for csv as in the table.")
    ] = None,
    images: Annotated[
        Path | None, Option(help="Covers named by item id; for csv as in the table.")
    ] = None,
    dataset: Annotated[
        str | None, Option(help="Only tartarus and mirdata: which of several datasets.")
    ] = None,
    subset: Annotated[
        str | None,
        Option(help="Only fma: small, medium, large; only music4all-aa: album, artist."),
    ] = None,
    labels: Annotated[str | None, Option(help="Only fma: top or all genres.")] = None,
    split: Annotated[
        str | None,
        Option(help="Only jamendo: 0 to 4; only gtzan: filtered, fold1 or none."),
    ] = None,
    columns: Annotated[
        str | None, Option(help="Only csv: its columns, as in image=filename,labels=genre.")
    ] = None,
    only_with: Annotated[
        str | None, Option(help="Leave out items that lack one of these, for example a,i.")
    ] = None,
    min_share: Annotated[
        float | None,
        Option(help="Leave out genres that a smaller share of the items has, for example 0.01."),
    ] = None,
    by: Annotated[
        list[Unit] | None,
        Option(help="track, album: what an item of a library is; artist: samples are of whole."),
    ] = None,
    separators: Annotated[
        str | None, Option(help="Only library: signs between the genres of one tag, as ';/'.")
    ] = None,
    genre_map: shared.MapOption = None,
    min_items: shared.MinItemsOption = None,
    sample: Annotated[
        int | None,
        Option(min=1, help="So many items, drawn at random; whole artists: --by artist."),
    ] = None,
    seed: Annotated[int, Option(min=0, help="Of the sample.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Makes a manifest from tagged music, a table, or a dataset and the media you have of it."""
    from mmgenre.datasets.build import build_manifest
    from mmgenre.datasets.table_columns import parse_columns

    how: dict[str, Any] = {"audio": audio, "images": images, "dataset": dataset}
    units = [unit.value for unit in by or () if unit is not Unit.ARTIST]
    if len(units) > 1:
        raise typer.BadParameter("--by: track or album, not both")
    how |= {"by": units[0] if units else None, "by_artist": Unit.ARTIST in (by or ())}
    how |= {"subset": subset, "labels": labels, "split": split}
    how |= {"separators": separators, "genre_map": genre_map, "min_items": min_items}
    how |= {"sample": sample, "seed": seed}
    how |= {"only_with": () if only_with is None else shared.modalities_of(only_with)}
    with shared.usage():
        how |= {"columns": None if columns is None else parse_columns(columns)}
    with progress_bars() as progress:
        built = build_manifest(name, folder, out, **how, min_share=min_share, progress=progress)
    lines = [*built.summary(), f"next: mmgenre manifest check {out}"]
    show(built.as_dict(), lines, as_json=as_json)
    if built.faults:
        raise typer.Exit(shared.SOME_REFUSED)


def check(
    manifest: Path, media_root: shared.MediaRootOption = None, as_json: JsonOption = False
) -> None:
    """Finds artists, albums, texts, tracks and covers in two splits, and covers of two genres."""
    from mmgenre.datasets.audit import audit
    from mmgenre.items.manifest import Manifest

    with progress_bars() as progress:
        items = Manifest.read(manifest, media_roots=media_root or ())
        found = audit(items, progress=progress)
    lines = [f"note: {note}" for note in found.notes]
    lines += [f"leak: {leak}" for leak in found.leaks]
    lines += [f"repeat: {repeat}" for repeat in found.repeats]
    lines += [f"mixed: {cover}" for cover in found.mixed]
    if found.mixed:
        lines.append(f"the same cover under different genres: {len(found.mixed)} groups")
    lines.append(
        f"{manifest}: {len(found.leaks)} leaks, {len(found.repeats)} repeats within a split, "
        f"{len(found.missing)} unreadable files"
    )
    show(asdict(found), lines, as_json=as_json)
    finish(found.missing, failed=bool(found.leaks))


def dedupe(
    manifest: Path,
    out: OutOption,
    near: Annotated[
        bool, Option("--near", help="Also copies that were cropped, framed, scaled, ...")
    ] = False,
    media_root: shared.MediaRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keeps the first item of each cover, and no item where their genres differ."""
    from mmgenre.datasets.audit import dedupe as dedupe_covers
    from mmgenre.items.manifest import Manifest

    with progress_bars() as progress:
        items = Manifest.read(manifest, media_roots=media_root or ())
        done = dedupe_covers(items, near=near, progress=progress)
    done.manifest.write(out)
    lines = [*done.summary(), f"next: mmgenre manifest check {out}"]
    show({"manifest": str(out), **done.as_dict()}, lines, as_json=as_json)
    finish(done.missing)


def split(
    manifest: Path,
    out: OutOption,
    ratios: Annotated[str, Option(help="Train, validation, test.")] = "0.8,0.1,0.1",
    seed: Annotated[int, Option(min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draws splits that share no artist and no album."""
    from mmgenre.items.item import SPLITS
    from mmgenre.items.manifest import Manifest
    from mmgenre.items.notes import manifest_notes, unlearned_notes
    from mmgenre.items.splits import split_anew

    try:
        train, val, test = (float(part) for part in ratios.split(","))
    except ValueError:
        raise typer.BadParameter(f"--ratios {ratios!r}: three numbers, as 0.8,0.1,0.1") from None
    items = Manifest.read(manifest)
    done = split_anew(items, (train, val, test), seed)
    done.write(out)
    notes = [*manifest_notes(done), *unlearned_notes(done)]
    counts = {split: done.count(split) for split in SPLITS}
    lines = [f"note: {note}" for note in notes]
    lines.append(f"{out}: " + ", ".join(f"{n} {split}" for split, n in counts.items()))
    show({"manifest": str(out), "splits": counts, "notes": notes}, lines, as_json=as_json)


def suspects(
    run: Annotated[Path, Argument(help="Folder of a run on the manifest.")] = shared.DEFAULT_RUN,
    top: Annotated[int, Option(min=1, help="Items shown.")] = 50,
    out: Annotated[Path | None, Option("--out", help="CSV of all of them.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Training items whose labels are likely wrong, by scores of models that have not seen them."""
    from mmgenre.pipeline.run import open_run
    from mmgenre.pipeline.suspects import suspects as look
    from mmgenre.pipeline.suspects import write_suspects

    with progress_bars() as progress:
        found = look(open_run(run), progress=progress)
    if out is not None:
        write_suspects(found, out)
    lines = [suspect.told() for suspect in found.found[:top]]
    lines += [f"note: {name} had no say: {why}" for name, why in found.left_out.items()]
    if found.not_judged:
        what = "not looked at, as no model knows them without the items of some artists"
        lines.append(f"note: {what}: {', '.join(found.not_judged)}")
    by = ", ".join(f"{name} (ROC-AUC {auc:.2f})" for name, auc in found.by.items())
    lines.append(f"{len(found.found):,} of {found.n_items:,} training items, by {by}")
    lines += [f"all of them: {out}"] if out is not None else []
    show(found.as_dict(top), lines, as_json=as_json)


def info(manifest: Path, as_json: JsonOption = False) -> None:
    """Counts items, modalities, splits and labels."""
    from mmgenre.items.manifest import Manifest
    from mmgenre.items.notes import manifest_notes, unlearned_notes

    items = Manifest.read(manifest)
    counted, notes = items.info(), [*manifest_notes(items), *unlearned_notes(items)]
    lines = []
    for name, value in counted.items():
        counts = value.items() if isinstance(value, dict) else [("", value)]
        lines.append(f"{name:<12}" + ", ".join(f"{k} {n}".strip() for k, n in counts))
    lines += [f"note: {note}" for note in notes]
    show({**counted, "notes": notes}, lines, as_json=as_json)
