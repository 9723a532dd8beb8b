"""Commands on models: export; and what one is worth without some modalities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from mmgenre.cli import shared


def export(
    run: Annotated[Path, Argument(help="Folder of a run.")],
    model: Annotated[Path, Argument(help="New folder, which is then whole without the run.")],
    fusion: Annotated[str | None, Option(help="Name of a folder under RUN/fusion.")] = None,
    with_frozen: Annotated[
        bool, Option("--with-frozen", help="With the files of the frozen models that it needs.")
    ] = False,
    onnx: Annotated[
        bool, Option("--onnx", help="Also as ONNX, for programs without torch (extra onnx).")
    ] = False,
    push: Annotated[
        str | None, Option(help="OWNER/NAME on the Hugging Face hub to upload it to.")
    ] = None,
    as_json: shared.JsonOption = False,
) -> None:
    """Writes a model folder that people keep: what prediction needs, and a card."""
    from mmgenre.fusion.exported import EXPORT
    from mmgenre.fusion.exported import push as push_to_hub
    from mmgenre.pipeline.export import export_model

    export_model(run, model, fusion=fusion, with_frozen=with_frozen, onnx=onnx)
    files = [path for path in model.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    content = {"model": str(model), "files": len(files), "bytes": size, "list": EXPORT}
    lines = [f"{model}: {len(files)} files, {size / 1e6:.1f} MB; its card: {model / 'README.md'}"]
    if push is not None:
        content["address"] = push_to_hub(model, push)
        lines.append(f"uploaded: {content['address']}")
    lines.append(f"next: mmgenre predict {model} --audio SONG")
    shared.show(content, lines, as_json=as_json)


def missing(
    run: Annotated[Path, Argument(help="Folder of a run.")],
    fusion: Annotated[str | None, Option(help="Name of a folder under RUN/fusion.")] = None,
    on: Annotated[Literal["val", "test"], Option(help="The items that figures are of.")] = "val",
    draws: Annotated[int, Option(min=1, help="How often modalities are hidden at random.")] = 3,
    seed: Annotated[int, Option(min=0, help="Of what is hidden.")] = 0,
    as_json: shared.JsonOption = False,
) -> None:
    """What the one model of a fusion is worth where items lack modalities; nothing is trained."""
    from mmgenre.pipeline.missing import without_some
    from mmgenre.pipeline.run import open_run

    found = without_some(open_run(run), fusion, on=on, draws=draws, seed=seed)
    metrics = list(found["curve"])
    lines = [
        f"{found['fusion']}: {found['n_items']:,} items of {on}",
        "  ".join(["items have".ljust(24), *(name.rjust(13) for name in metrics)]),
    ]

    def line(name: str, values: list[float]) -> str:
        return "  ".join([name.ljust(24), *(f"{value:13.3f}" for value in values)])

    lines += [line(own["name"], [own["figures"][m] for m in metrics]) for own in found["subsets"]]
    lines.append(f"hidden at random (mean of {draws} draws)")
    for k, share in enumerate(found["shares"]):
        lines.append(line(f"{share:.0%}", [found["curve"][m][k] for m in metrics]))
    shared.show(found, lines, as_json=as_json)


def robustness(
    run: Annotated[Path, Argument(help="Folder of a run.")],
    deform: Annotated[
        list[str],
        Option(
            help="gain=-12, noise=15, mp3=32, stretch=1.1, lowpass=4000; words=20, genres; "
            "blur=2, jpeg=10, grey; with commas, or again for each."
        ),
    ],
    fusion: Annotated[str | None, Option(help="Name of a folder under RUN/fusion.")] = None,
    on: Annotated[Literal["val", "test"], Option(help="The items that figures are of.")] = "val",
    alone: Annotated[
        bool, Option("--alone", help="Items have no other medium than the deformed one.")
    ] = False,
    items: Annotated[int, Option(min=1, help="The most items that are deformed.")] = 500,
    seed: Annotated[int, Option(min=0, help="Of the items that are drawn.")] = 0,
    workers: shared.WorkersOption = None,
    as_json: shared.JsonOption = False,
) -> None:
    """What a model loses when media get worse; nothing is trained."""
    from mmgenre.pipeline.deforming import deformation
    from mmgenre.pipeline.robustness import robustness as measure
    from mmgenre.pipeline.run import open_run

    ways = [deformation(way.strip()) for given in deform for way in given.split(",")]
    with shared.progress_bars() as progress:
        found = measure(
            open_run(run), ways, fusion=fusion, on=on, alone=alone, most_items=items, seed=seed,
            workers=workers, progress=progress,
        )  # fmt: skip
    metric = found["metric"]
    lines = [
        f"{found['fusion']}: items of {on}{', of this medium alone' if alone else ''}; {metric}",
        f"{'deformed':32}{'items':>6}{'plain':>8}{'worse':>8}  {'difference (95 %)':26}other first",
    ]
    refused = []
    for row in found["rows"]:
        refused += row["refused"]
        paired = row["paired"]
        told = "cannot be measured"
        if paired is not None:
            told = f"{paired['value']:+.3f} ({paired['low']:+.3f} to {paired['high']:+.3f})"
        plain, worse = row["plain"][metric], row["figures"][metric]
        lines.append(
            f"{row['name']:32}{row['n_items']:6,}{plain:8.3f}{worse:8.3f}  {told:26}"
            f"{row['changed']:.0%}"
        )
    if found["naming"] is not None:
        lines.append(f"{found['naming']:.0%} of the texts name one of their item's own genres")
    lines += [f"not used: {fault}" for fault in refused]
    shared.show(found, lines, as_json=as_json)


def slices(
    run: Annotated[Path, Argument(help="Folder of a run.")],
    by: Annotated[str, Option(help="A column of the manifest: year, language, country.")],
    fusion: Annotated[str | None, Option(help="Name of a folder under RUN/fusion.")] = None,
    row: Annotated[
        str | None, Option(help="A row, as A+T; default: the one of most inputs.")
    ] = None,
    on: Annotated[Literal["val", "test"], Option(help="The items that figures are of.")] = "val",
    as_json: shared.JsonOption = False,
) -> None:
    """How good a fusion is on parts of its items, by a column of the manifest."""
    from mmgenre.pipeline.run import open_run
    from mmgenre.pipeline.slices import slices as measure

    found = measure(open_run(run), by, fusion=fusion, row=row, on=on)
    lines = [
        f"{found['fusion']}, row {found['row']}: items of {on} by {by}; {found['metric']}",
        f"{by:24}{'items':>7}{'artists':>9}{'genres':>8}  {'figure (95 %)':24}against all others",
    ]
    for one in found["slices"]:
        line = f"{one['name'][:23]:24}{one['n_items']:7,}{one['n_groups']:9,}{one['n_labels']:8}"
        if one["figure"] is None or one["difference"] is None:
            lines.append(f"{line}  {one['verdict']}")
            continue
        said = f"{one['figure']:.3f}"
        if one["low"] is not None and one["high"] is not None:
            said += f" ({one['low']:.3f} to {one['high']:.3f})"
        low, high = one["difference_low"] or 0.0, one["difference_high"] or 0.0
        told = f"{one['difference']:+.3f} ({low:+.3f} to {high:+.3f}), {one['verdict']}"
        lines.append(f"{line}  {said:24}{told}")
    shared.show(found, lines, as_json=as_json)
