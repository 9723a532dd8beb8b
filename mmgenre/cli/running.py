"""Commands on a run: extract, fuse, report, predict; and the first look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from mmgenre.cli.shared import (
    DEFAULT_RUN,
    FAILED,
    JsonOption,
    ModalitiesOption,
    RunOption,
    SetOption,
    WorkersOption,
    encoders_of,
    features_of,
    finish,
    inputs_of,
    main_goes_on,
    modalities_of,
    print_fusion,
    print_json,
    progress_bars,
)
from mmgenre.errors import Refusal
from mmgenre.items.manifest import Modality


def extract_features(
    manifest: Annotated[
        Path | None, typer.Option(help="CSV of items; without it the built-in catalogue.")
    ] = None,
    modalities: ModalitiesOption = "a,t,i",
    run: RunOption = DEFAULT_RUN,
    recipe: Annotated[str | None, typer.Option(help="default, quick, or a TOML file.")] = None,
    settings: SetOption = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="Use a trained encoder: a=FOLDER, t=FOLDER or i=FOLDER."),
    ] = None,
    workers: WorkersOption = None,
    shard: Annotated[
        str | None,
        typer.Option(help="I/N: only read the I-th of N shares of the media, in a job of many."),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(help="Media are read by the workers of this Dask scheduler, or: local."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Media -> inputs -> encoders trained on the genre task -> embeddings in HDF5."""
    wanted = modalities_of(modalities)
    given = encoders_of(encoder or [])
    if shard is not None:
        if encoder or dask:
            raise typer.BadParameter("with --shard media are only read: no --encoder, no --dask")
        _read_shard(shard, manifest, run, wanted, recipe, settings, workers, as_json=as_json)
        return
    from mmgenre import pipeline as stages

    with progress_bars() as progress:
        result = stages.extract_features(
            manifest,
            run=run,
            modalities=wanted,
            recipe=recipe,
            settings=settings or [],
            encoders=given,
            workers=workers,
            dask=dask,
            progress=progress,
        )
    main_goes_on()
    if as_json:
        print_json(result.as_dict())
    else:
        counts = ", ".join(f"{n} with {m}" for m, n in result.counts.items())
        typer.echo(f"{result.embeddings}: {counts}")
        typer.echo(f"next: mmgenre fuse --run {run} --modalities {modalities}")
    finish(result.refused)


def _read_shard(
    shard: str,
    manifest: Path | None,
    run: Path,
    modalities: Sequence[Modality],
    recipe: str | None,
    settings: list[str] | None,
    workers: int | None,
    *,
    as_json: bool,
) -> None:
    from mmgenre import pipeline as stages
    from mmgenre.reading.extraction import Shard

    try:
        share = Shard.parse(shard)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--shard'") from None
    with progress_bars() as progress:
        result = stages.read_shard(
            share,
            manifest,
            run=run,
            modalities=modalities,
            recipe=recipe,
            settings=settings or [],
            workers=workers,
            progress=progress,
        )
    if as_json:
        print_json(result.as_dict())
        return
    for modality, (done, total) in result.parts.items():
        typer.echo(f"{modality}: {done:,} of {total:,} parts are read")
    left = "" if result.is_all_there else "the other shards, and then "
    typer.echo(f"next: {left}the same command without --shard")


def fuse(
    modalities: ModalitiesOption = "a,t,i",
    run: RunOption = DEFAULT_RUN,
    manifest: Annotated[
        Path | None, typer.Option(help="CSV of items, to begin a run with --features.")
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            help="Vectors made elsewhere: NAME=FILE (.npy, .npz, .h5), or a store FILE.h5."
        ),
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option(help="One row only, as joint.a for the joint audio vector (MM_AUDIO)."),
    ] = None,
    head: Annotated[Literal["logistic", "cosine"] | None, typer.Option()] = None,
    task: Annotated[
        Literal["single", "multi"] | None, typer.Option(help="One genre an item, or many.")
    ] = None,
    joint: Annotated[
        bool | None, typer.Option("--joint/--no-joint", help="Joint vectors beside embeddings.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Heads trained for each row.")] = 3,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Joint space, late fusion and evaluation of every subset of the modalities."""
    wanted = modalities_of(modalities)
    from mmgenre import pipeline as stages
    from mmgenre.pipeline.features import given_vectors, refusals
    from mmgenre.pipeline.run import open_run

    with progress_bars() as progress:
        result = stages.fuse(
            wanted,
            run=run,
            manifest=manifest,
            features=features_of(features or []),
            inputs=inputs_of(inputs) if inputs else None,
            head=head,
            joint=joint,
            task=task,
            seeds=seeds,
            settings=settings or [],
            progress=progress,
        )
    main_goes_on()
    done = open_run(run)
    refused = [r for r in refusals(done) if r.modality in wanted]
    given = given_vectors(done)
    if as_json:
        listed = {"given": [asdict(g) for g in given], "refused": [asdict(r) for r in refused]}
        print_json({**result, "run": str(run), **listed})
    else:
        print_fusion(result)
        for vectors in given:
            typer.echo(f"{vectors}, of {len(done.manifest):,}")
        typer.echo(f"next: mmgenre report {run}")
    finish(refused)


def report(
    run: Annotated[
        Path, typer.Argument(help="Folder of a run, or of an experiment (runs/NAME-DATASET).")
    ] = DEFAULT_RUN,
    human: Annotated[
        Path | None,
        typer.Option(help="CSV of a human annotator's F1: columns genre, and rows as A, I, A+I."),
    ] = None,
) -> None:
    """Writes one self-contained HTML page about a run, or about an experiment."""
    from mmgenre.pipeline.describing import make_report

    with progress_bars() as progress:
        page = make_report(run, human=human, progress=progress)
    typer.echo(page)


def quickstart(
    run: RunOption = DEFAULT_RUN,
    seeds: Annotated[int, typer.Option(min=1, help="Heads trained for each row.")] = 3,
) -> None:
    """Everything once, on the built-in catalogue, with a report at the end."""
    from mmgenre.pipeline.quickstart import quickstart as run_quickstart

    with progress_bars() as progress:
        results, page = run_quickstart(run, seeds=seeds, progress=progress)
    main_goes_on()
    for result in results:
        print_fusion(result)
    typer.echo(f"report: {page}")


def predict(
    model: Annotated[Path, typer.Argument(help="Folder of a run.")],
    audio: Annotated[list[Path] | None, typer.Option(help="A track; repeat for an album.")] = None,
    text: Annotated[Path | None, typer.Option(help="A text file.")] = None,
    image: Annotated[Path | None, typer.Option(help="A cover.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="CSV of many items instead.")] = None,
    fusion: Annotated[str | None, typer.Option(help="Name of a folder under RUN/fusion.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Genres shown for each item.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Names the genres of one item, or of a manifest, from any subset of the modalities."""
    single = bool(audio or text or image)
    if single == (manifest is not None):
        raise typer.BadParameter("give --audio, --text or --image (any of them), or --manifest")
    from mmgenre.fusion.tagger import GenreTagger
    from mmgenre.items.manifest import Manifest

    tagger = GenreTagger.from_pretrained(model, fusion)
    refused: Sequence[Refusal] = ()
    if manifest is not None:
        with progress_bars() as progress:
            predictions, refused = tagger.predict_manifest(
                Manifest.read(manifest), progress=progress
            )
    else:
        try:
            predictions = [tagger.predict(audio=audio, text=text, image=image)]
        except ValueError as error:  # a modality that this model does not know
            raise typer.BadParameter(str(error)) from None
    if as_json:
        shown = [{**asdict(p), "genres": [asdict(g) for g in p.genres[:top]]} for p in predictions]
        print_json({"predictions": shown, "refused": [asdict(r) for r in refused]})
    else:
        for p in predictions:
            typer.echo(f"{p.id}  from {', '.join(p.used)}  ({p.kind}; * = named)")
            for genre in p.genres[:top]:
                mark = "*" if genre.name in p.named else " "
                typer.echo(f"  {mark} {genre.score:6.3f}  {genre.name}")
    finish(refused)


def doctor(as_json: JsonOption = False) -> None:
    """Checks whether this installation is able to do the job."""
    from mmgenre.doctor import diagnose

    checks = diagnose()
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            mark = "ok  " if check.ok else "FAIL"
            typer.echo(f"{mark}  {check.name:<22}{check.found}")
            if check.advice:
                typer.echo(f"      -> {check.advice}")
    if not all(check.ok for check in checks):
        raise typer.Exit(FAILED)
