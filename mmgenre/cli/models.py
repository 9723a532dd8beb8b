"""Commands on models: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
