"""Commands on manifests: build, check, dedupe, split, info."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mmgenre.cli.shared import JsonOption, finish, modalities_of, print_json, progress_bars

if TYPE_CHECKING:
    from mmgenre.datasets.cover_table import Field


def build(
    name: Annotated[
        Literal["mumu", "msdi", "cls", "tartarus", "folders", "csv", "covers20k"],
        typer.Argument(
            help="Layout: MuMu, MSD-I, genre file of the MSD, the authors' arrays; "
            "folders of covers (one a genre), a CSV of covers, 20k album covers."
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="Where the files lie; for csv also the file.")],
    out: Annotated[Path, typer.Option("--out", help="The CSV to write.")],
    audio: Annotated[Path | None, typer.Option(help="Audio files named by track id.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Covers named by item id; for csv by the table.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="tartarus: which of several datasets in the folder.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="csv: its columns, as image=filename,labels=genre.")
    ] = None,
    only_with: Annotated[
        str | None, typer.Option(help="Leave out items that lack one of these, as image or a,i.")
    ] = None,
    min_share: Annotated[
        float | None,
        typer.Option(help="Leave out genres that a smaller share of the items has, as 0.01."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """A dataset, and the media that you have of it -> a manifest."""
    from mmgenre.datasets.build import build_manifest

    with progress_bars() as progress:
        built = build_manifest(
            name,
            folder,
            out,
            audio=audio,
            images=images,
            dataset=dataset,
            columns=None if columns is None else _columns_of(columns),
            only_with=() if only_with is None else modalities_of(only_with),
            min_share=min_share,
            progress=progress,
        )
    if as_json:
        print_json(built.as_dict())
        return
    for line in built.summary():
        typer.echo(line)
    typer.echo(f"next: mmgenre manifest check {out}")


def _columns_of(text: str) -> dict[Field, str]:
    """`image=filename` -> {"image": "filename"}."""
    from mmgenre.datasets.cover_table import parse_columns

    try:
        return parse_columns(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def check(manifest: Path, as_json: JsonOption = False) -> None:
    """Looks for artists, albums, files or covers in two splits, and covers of two genres."""
    from mmgenre.datasets.audit import audit
    from mmgenre.items.manifest import Manifest

    with progress_bars() as progress:
        found = audit(Manifest.read(manifest), progress=progress)
    if as_json:
        print_json(asdict(found))
    else:
        for leak in found.leaks:
            typer.echo(f"leak: {leak}")
        for repeat in found.repeats:
            typer.echo(f"repeat: {repeat}")
        for cover in found.mixed:
            typer.echo(f"mixed: {cover}")
        if found.mixed:
            typer.echo(f"the same cover under different genres: {len(found.mixed)} groups")
        typer.echo(
            f"{manifest}: {len(found.leaks)} leaks, {len(found.repeats)} repeats within a split, "
            f"{len(found.missing)} unreadable files"
        )
    finish(found.missing, failed=bool(found.leaks))


def dedupe(
    manifest: Path,
    out: Annotated[Path, typer.Option("--out", help="The CSV to write.")],
    near: Annotated[
        bool, typer.Option("--near", help="Also scaled, recompressed or barely cropped copies.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Keeps the first item of each cover, and none where its genres differ."""
    from mmgenre.datasets.audit import dedupe as dedupe_covers
    from mmgenre.items.manifest import Manifest

    with progress_bars() as progress:
        done = dedupe_covers(Manifest.read(manifest), near=near, progress=progress)
    done.manifest.write(out)
    if as_json:
        print_json({"manifest": str(out), **done.as_dict()})
    else:
        for line in done.summary():
            typer.echo(line)
        typer.echo(f"next: mmgenre manifest check {out}")
    finish(done.missing)


def split(
    manifest: Path,
    out: Annotated[Path, typer.Option("--out", help="The CSV to write.")],
    ratios: Annotated[str, typer.Option(help="Train, validation, test.")] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Draws splits that share no artist and no album."""
    from mmgenre.items.manifest import SPLITS, Manifest
    from mmgenre.items.splits import make_splits

    try:
        train, val, test = (float(part) for part in ratios.split(","))
    except ValueError:
        raise typer.BadParameter(f"--ratios {ratios!r}: three numbers, as 0.8,0.1,0.1") from None
    items = Manifest.read(manifest)
    done = items.with_splits(make_splits(items, (train, val, test), seed))
    done.write(out)
    counts = ", ".join(f"{len(done.ids(split))} {split}" for split in SPLITS)
    typer.echo(f"{out}: {counts}")


def info(manifest: Path, as_json: JsonOption = False) -> None:
    """Counts items, modalities, splits and labels."""
    from mmgenre.items.manifest import Manifest

    counted = Manifest.read(manifest).info()
    if as_json:
        print_json(counted)
        return
    for name, value in counted.items():
        counts = value.items() if isinstance(value, dict) else [("", value)]
        typer.echo(f"{name:<12}" + ", ".join(f"{k} {n}".strip() for k, n in counts))
