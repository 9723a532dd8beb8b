"""The command on frozen models: lists those that are known, and fetches one."""

from __future__ import annotations

from typing import Annotated, Any

from typer import Argument, Option

from mmgenre.cli.shared import JsonOption, print_rich, show


def encoders(
    pattern: Annotated[str, Argument(help="Only those whose name or medium contains it.")] = "",
    get: Annotated[
        str | None,
        Option(help="Download hf:OWNER/NAME or timm:NAME into the hub's cache, if it is not here."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Frozen models to name among a recipe's encoders: width, licence, whether they are here."""
    from mmgenre.frozen.places import fetch
    from mmgenre.frozen.settings import ModelName

    if get is not None:
        place = fetch(ModelName.parse(get))
        about = place.about()
        lines = [
            f"{place.name}: {place.folder}",
            f"revision {place.revision or '-'}, sha256 {about['sha256']}",
            f"licence {place.licence or 'not stated in its card'}",
        ]
        show({**about, "folder": str(place.folder)}, lines, as_json=as_json)
        return
    found = _known(pattern.lower())
    if as_json or not found:
        show(found, [f"no known model matches {pattern!r}"], as_json=as_json)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for title in ("name", "for", "width", "params", "rate, window", "licence", "here"):
        table.add_column(title, overflow="fold")
    for row in found:
        audio = f"{row['rate_hz'] / 1000:g} kHz, {row['window_s']:g} s" if row["rate_hz"] else ""
        table.add_row(
            row["name"], row["medium"], str(row["width"]), f"{row['millions']} M", audio,
            row["licence"], "yes" if row["here"] else "no",
        )  # fmt: skip
    print_rich(table)
    show(None, ['use: --set \'audio.encoders=["cnn", "hf:OWNER/NAME"]\''], as_json=False)


def _known(pattern: str) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from mmgenre.errors import WeightsError
    from mmgenre.frozen.known import KNOWN
    from mmgenre.frozen.places import find
    from mmgenre.frozen.settings import ModelName

    found = []
    for hub_name, known in KNOWN.items():
        is_timm = hub_name.startswith("timm/")
        name = ModelName("timm" if is_timm else "hf", hub_name.removeprefix("timm/"))
        if pattern not in f"{str(name).lower()} {known.medium}":
            continue
        try:
            here = bool(find(name))
        except WeightsError:
            here = False
        found.append({"name": str(name), **asdict(known), "here": here})
    return found
