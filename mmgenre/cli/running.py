"""Commands on a run: extract, fuse, report, predict; and the first look."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option

from mmgenre.cli import shared
from mmgenre.errors import Refusal

if TYPE_CHECKING:
    pass


def extract_features(
    music: Annotated[
        Path | None,
        Argument(
            exists=True, file_okay=False, help="Folder of tagged music, instead of a manifest."
        ),
    ] = None,
    by: Annotated[
        shared.Unit | None, Option(help="What an item of a folder of music is; default: a track.")
    ] = None,
    genre_map: shared.MapOption = None,
    min_items: shared.MinItemsOption = None,
    sample: Annotated[
        int | None, Option(min=1, help="So many items of a folder of music, drawn at random.")
    ] = None,
    manifest: Annotated[
        Path | None, Option(help="CSV of items; without it the built-in catalogue.")
    ] = None,
    media_root: shared.MediaRootOption = None,
    modalities: shared.ModalitiesOption = "a,t,i",
    run: shared.RunOption = shared.DEFAULT_RUN,
    recipe: Annotated[str | None, Option(help="default, quick, or a TOML file.")] = None,
    settings: shared.SetOption = None,
    encoder: Annotated[
        list[str] | None, Option(help="Use a trained encoder: a=FOLDER, t=FOLDER or i=FOLDER.")
    ] = None,
    workers: shared.WorkersOption = None,
    shard: Annotated[
        str | None,
        Option(help="I/N: read, or embed, the I-th of N shares of the run, in a job of many."),
    ] = None,
    dask: Annotated[
        str | None, Option(help="Workers of this Dask scheduler, or: local, read media and embed.")
    ] = None,
    item_limit: Annotated[
        float | None,
        Option(help="Seconds that one item may be read, by default 300 and 1 more for each MB."),
    ] = None,
    budget: Annotated[
        str | None,
        Option(help="Time for the training of encoders, as 90s, 3m or 1h; media come on top."),
    ] = None,
    accept_missing: Annotated[
        bool, Option("--accept-missing", help="Go on although files that were read have gone.")
    ] = False,
    check_content: Annotated[
        bool, Option("--check-content", help="Compare all files that were read by their bytes.")
    ] = False,
    retrain: Annotated[
        bool, Option("--retrain", help="Learn anew on all items if some were added.")
    ] = False,
    track: shared.TrackOption = False,
    no_embed: Annotated[
        bool, Option("--no-embed", help="End when encoders have learned; shards then embed.")
    ] = False,
    no_merge: Annotated[
        bool,
        Option("--no-merge", help="Inputs stay in the parts they are read into: half the disk."),
    ] = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Media -> inputs -> encoders trained on the genre task -> embeddings in HDF5."""
    how: dict[str, Any] = {"modalities": shared.modalities_of(modalities), "recipe": recipe}
    how |= {"run": run, "settings": settings or [], "workers": workers}
    how |= {"accept_missing": accept_missing, "media_roots": media_root or []}
    how |= {"check_content": check_content, "item_limit_s": item_limit}
    how |= {"by": by.value if by else None, "genre_map": genre_map}
    how |= {"min_items": min_items, "sample": sample}
    if music is not None and manifest is not None:
        raise typer.BadParameter("give a folder of music or --manifest, not both")
    of_music = {"--by": by, "--map": genre_map, "--min-items": min_items, "--sample": sample}
    for name, value in of_music.items():
        if value is not None and music is None:
            raise typer.BadParameter(f"{name} is of a folder of music, and none is given")
    manifest = music or manifest
    encoders = shared.encoders_of(encoder or [])
    if shard is not None and (encoder or dask or retrain or track or no_embed or no_merge):
        raise typer.BadParameter(
            "with --shard nothing learns or merges: no --encoder, no --dask, no --retrain, no "
            "--track, no --no-embed, no --no-merge"
        )
    from mmgenre.pipeline import commands
    from mmgenre.pipeline.run import REFUSED

    if shard is not None:
        from mmgenre.pipeline.shards import read_shard
        from mmgenre.reading.extraction import Shard

        with shared.usage("'--shard'"):
            share = Shard.parse(shard)
        with shared.progress_bars() as progress:
            read = read_shard(share, manifest, **how, progress=progress)
        lines = [f"{m}: {n:,} of {total:,} parts are read" for m, (n, total) in read.parts.items()]
        of = read.embedded.items()
        lines += [f"{v}: {n:,} of {total:,} parts are embedded" for v, (n, total) in of]
        left = "" if read.is_all_there else "the other shards, and then "
        lines.append(f"next: {left}the same command without --shard")
        shared.show(read.as_dict(), lines, as_json=as_json)
        return
    with shared.progress_bars() as progress:
        result = commands.extract_features(
            manifest,
            **how,
            encoders=encoders,
            dask=dask,
            budget=budget,
            retrain=retrain,
            track=track,
            embed=not no_embed,
            merge=not no_merge,
            progress=progress,
        )
    shared.main_goes_on()
    counts = ", ".join(f"{n} with {m}" for m, n in result.counts.items())
    lines = [f"{result.embeddings}: {counts}"]
    lines += [f"note: {note}" for note in result.notes]
    if no_embed:
        lines = [f"{run}: encoders have learned, nothing is embedded"]
    lines += shared.curves_told(run) if track else []
    by_shards = "the same command with --shard I/N, in N jobs, then with neither"
    fusing = f"mmgenre fuse --run {run} --modalities {modalities}"
    lines.append(f"next: {by_shards if no_embed else fusing}")
    # Its hash of the embeddings reads all of them.
    shared.show(result.as_dict() if as_json else None, lines, as_json=as_json)
    shared.finish(result.refused, details=run / REFUSED)


def fuse(
    modalities: Annotated[
        str | None,
        Option(
            "--modalities",
            "-m",
            help="As a,t,i; default: all, or where vectors are given, those that have any.",
        ),
    ] = None,
    run: shared.RunOption = shared.DEFAULT_RUN,
    manifest: Annotated[
        Path | None, Option(help="CSV of items, to begin a run with --features.")
    ] = None,
    media_root: shared.MediaRootOption = None,
    features: Annotated[
        list[str] | None,
        Option(help="Vectors made elsewhere: NAME=FILE (.npz, .npy, .h5, .parquet), or a store."),
    ] = None,
    inputs: Annotated[
        str | None, Option(help="One row only, as joint.a for the joint audio vector (MM_AUDIO).")
    ] = None,
    head: Annotated[Literal["logistic", "cosine"] | None, Option()] = None,
    task: Annotated[
        Literal["single", "multi"] | None, Option(help="One genre an item, or many.")
    ] = None,
    joint: Annotated[
        bool | None, Option("--joint/--no-joint", help="Joint vectors beside embeddings.")
    ] = None,
    seeds: shared.RowSeedsOption = None,
    refit: Annotated[
        bool, Option("--refit", help="The saved model's heads also learn from validation items.")
    ] = False,
    with_frozen: Annotated[
        bool, Option("--with-frozen", help="Copy the frozen models that it needs into the run.")
    ] = False,
    cv: Annotated[
        int | None,
        Option(
            "--cv", metavar="K", help="Test every item once, by K models that have not seen it."
        ),
    ] = None,
    settings: shared.SetOption = None,
    track: shared.TrackOption = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Joint space, late fusion and evaluation of every subset of the modalities."""
    wanted = shared.modalities_of(modalities) if modalities else None
    from mmgenre.disk.records import read_record
    from mmgenre.items.modalities import modality_of
    from mmgenre.measuring.results import RESULT
    from mmgenre.pipeline import commands
    from mmgenre.pipeline.notes import fusion_notes, split_notes
    from mmgenre.pipeline.run import REFUSED, open_run
    from mmgenre.pipeline.scores import PREDICTIONS
    from mmgenre.pipeline.steps import steps_of
    from mmgenre.report.terminal import rich_table

    how: dict[str, Any] = {"run": run, "manifest": manifest, "seeds": seeds}
    how |= {"with_frozen": with_frozen, "cv": cv, "track": track}
    if cv is not None and (refit or with_frozen):
        raise typer.BadParameter("--cv keeps no model: no --refit, no --with-frozen")
    how |= {"media_roots": media_root or []}
    own = [*(settings or []), *(["fusion.refit=true"] if refit else [])]
    how |= {"head": head, "joint": joint, "task": task, "settings": own}
    how |= {"features": shared.features_of(features or [])}
    how |= {"inputs": shared.inputs_of(inputs) if inputs else None}
    with shared.progress_bars() as progress:
        result = commands.fuse(wanted, **how, progress=progress)
    shared.main_goes_on()
    measured = read_record(run / RESULT)
    target = measured["recipe"]["target"]["name"]
    notes = [*measured["notes"], *fusion_notes(result, target, run)]
    dataset = measured["dataset"]
    if cv is not None:  # the run's own splits play no part
        notes = [note for note in notes if note not in set(split_notes(open_run(run)))]
    read = {modality_of(name) for row in result["rows"] for name in row["inputs"]}
    refused = [r for r in dataset["refused"] if r["modality"] in read]
    if not as_json:
        shared.print_rich(rich_table(result))
    lines = []
    for given in dataset["given"]:
        unknown = f"; {given['n_unknown']:,} ids are no item" if given["n_unknown"] else ""
        n = f"{given['n_items']:,} items{unknown}, of {dataset['n_items']:,}"
        lines.append(f"{given['name']}: vectors for {n}")
    lines += [f"note: {note}" for note in notes]
    named = run / "fusion" / result["name"] / PREDICTIONS
    lines += [f"genres of the items that had none: {named}"] if named.is_file() else []
    lines += shared.curves_told(run) if track else []
    lines.append(f"next: mmgenre report {run}")
    steps = steps_of(open_run(run), [run / "fusion" / result["name"]]) if as_json else []
    listed = {"given": dataset["given"], "refused": refused, "notes": notes, "steps": steps}
    shared.show({**result, "run": str(run), **listed}, lines, as_json=as_json)
    shared.finish([Refusal(**r) for r in refused], details=run / REFUSED)


def report(
    run: Annotated[
        Path, Argument(help="Folder of a run, or of an experiment (runs/NAME-DATASET).")
    ] = shared.DEFAULT_RUN,
    human: Annotated[
        Path | None,
        Option(help="CSV of a human annotator's F1: columns genre, and rows as A, I, A+I."),
    ] = None,
    media: Annotated[
        bool,
        Option(
            "--media", help="With excerpts of your tracks and texts: who gets the page has them."
        ),
    ] = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Writes one self-contained HTML page about a run, or about an experiment."""
    from mmgenre.pipeline.qualitative import make_report

    with shared.progress_bars() as progress:
        page = make_report(run, human=human, media=media, progress=progress)
    shared.show({"run": str(run), "report": str(page)}, [page], as_json=as_json)


def quickstart(
    run: shared.RunOption = shared.DEFAULT_RUN,
    seeds: shared.RowSeedsOption = None,
    as_json: shared.JsonOption = False,
) -> None:
    """Everything once, on the built-in catalogue, with a report at the end."""
    from mmgenre.disk.records import read_record
    from mmgenre.measuring.results import RESULT
    from mmgenre.pipeline import commands
    from mmgenre.pipeline.run import open_run
    from mmgenre.pipeline.steps import steps_of
    from mmgenre.report.terminal import rich_table

    with shared.progress_bars() as progress:
        results, page = commands.quickstart(run, seeds=seeds, progress=progress)
    shared.main_goes_on()
    notes = read_record(run / RESULT)["notes"]
    for result in [] if as_json else results:
        shared.print_rich(rich_table(result))
    lines = [*(f"note: {note}" for note in notes), f"report: {page}"]
    folders = [run / "fusion" / result["name"] for result in results]
    steps = steps_of(open_run(run), folders) if as_json else []
    content = {"run": str(run), "fusions": results, "report": str(page), "notes": notes}
    content["steps"] = steps
    shared.show(content, lines, as_json=as_json)


def train_starter(
    model: Annotated[Path, Argument(help="New folder of the model.")],
    run: Annotated[
        Path | None, Option(help="Folder of the run that makes it; default: runs/starter.")
    ] = None,
    as_json: shared.JsonOption = False,
) -> None:
    """Makes the model `catalogue`, which the package carries, anew: synthetic, for a first look."""
    from mmgenre.pipeline.starter import train_starter as train

    with shared.progress_bars() as progress:
        train(model, run=run, progress=progress)
    shared.main_goes_on()
    content = {"model": str(model)}
    lines = [f"{model}: of the synthetic catalogue", f"next: mmgenre predict {model} --audio SONG"]
    shared.show(content, lines, as_json=as_json)


def doctor(as_json: shared.JsonOption = False) -> None:
    """Checks whether this installation is able to do the job."""
    from mmgenre.doctor import diagnose

    checks = diagnose()
    lines = []
    for check in checks:
        lines.append(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<22}{check.found}")
        lines += [f"      -> {check.advice}"] if check.advice else []
    shared.show([asdict(check) for check in checks], lines, as_json=as_json)
    shared.finish((), failed=not all(check.ok for check in checks))
