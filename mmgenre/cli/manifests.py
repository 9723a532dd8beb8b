"""Commands on manifests: build, check, split, info."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from mmgenre.cli.shared import JsonOption, finish, print_json, progress_bars


def build(
    name: Annotated[
        Literal["mumu", "msdi", "cls", "tartarus"],
        typer.Argument(help="Layout: MuMu, MSD-I, genre file of the MSD, the authors' arrays."),
    ],
    folder: Annotated[Path, typer.Argument(help="Where the published files lie.")],
    out: Annotated[Path, typer.Option("--out", help="The CSV to write.")],
    audio: Annotated[Path | None, typer.Option(help="Audio files named by track id.")] = None,
    images: Annotated[Path | None, typer.Option(help="Covers named by item id.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="tartarus: which of several datasets in the folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """A published dataset, and the media that you have of it -> a manifest."""
    from mmgenre.datasets.build import build_manifest

    with progress_bars() as progress:
        built = build_manifest(
            name,
            folder,
            out,
            audio=audio,
            images=images,
            dataset=dataset,
            progress=progress,
        )
    if as_json:
        print_json(built.as_dict())
        return
    for line in built.summary():
        typer.echo(line)
    typer.echo(f"next: mmgenre manifest check {out}")


def check(manifest: Path, as_json: JsonOption = False) -> None:
    """Looks for leakage: artists, albums, identical files or similar covers in two splits."""
    from mmgenre.audit import audit
    from mmgenre.manifest import Manifest

    with progress_bars() as progress:
        found = audit(Manifest.read(manifest), progress=progress)
    if as_json:
        print_json(asdict(found))
    else:
        for leak in found.leaks:
            typer.echo(f"leak: {leak}")
        for repeat in found.repeats:
            typer.echo(f"repeat: {repeat}")
        typer.echo(
            f"{manifest}: {len(found.leaks)} leaks, {len(found.repeats)} repeats within a split, "
            f"{len(found.missing)} unreadable files"
        )
    finish(found.missing, failed=bool(found.leaks))


def split(
    manifest: Path,
    out: Annotated[Path, typer.Option("--out", help="The CSV to write.")],
    ratios: Annotated[str, typer.Option(help="Train, validation, test.")] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Draws splits that share no artist and no album."""
    from mmgenre.manifest import SPLITS, Manifest
    from mmgenre.splits import make_splits

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
    from mmgenre.manifest import Manifest

    counted = Manifest.read(manifest).info()
    if as_json:
        print_json(counted)
        return
    for name, value in counted.items():
        counts = value.items() if isinstance(value, dict) else [("", value)]
        typer.echo(f"{name:<12}" + ", ".join(f"{k} {n}".strip() for k, n in counts))
