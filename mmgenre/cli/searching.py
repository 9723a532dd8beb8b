"""The command that finds items by words, a cover, or a track."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from mmgenre.cli import shared
from mmgenre.errors import InputError

if TYPE_CHECKING:
    from mmgenre.pipeline.search import Found


def search(
    run: Annotated[Path, Argument(help="A run with a joint space (mmgenre fuse --joint).")],
    text: Annotated[str | None, Option(help="Words, or a text file.")] = None,
    image: Annotated[Path | None, Option(help="A cover.")] = None,
    audio: Annotated[
        list[Path] | None, Option(help="A track; repeat for the tracks of an album.")
    ] = None,
    top: Annotated[int, Option(min=1, help="Items shown.")] = 10,
    within: Annotated[
        str | None, Option("--in", help="Search the vectors of one modality alone: audio, ...")
    ] = None,
    fusion: Annotated[
        str | None, Option(help="A fusion with the joint space, where a run has several.")
    ] = None,
    approximate: Annotated[
        bool, Option("--approximate", help="By the index, for many millions of items.")
    ] = False,
    build_index: Annotated[
        bool, Option("--build-index", help="Write the index first (extra `search`).")
    ] = False,
    entities_url: Annotated[
        str | None, Option(help="Address of the entity service that the query's text goes to.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        Option(help="A file to open, or an encoder module:NAME to import, that the run names."),
    ] = None,
    as_json: shared.JsonOption = False,
) -> None:
    """Finds the nearest items of a run by words, a cover, a track, or several of these."""
    if not (text is not None or image or audio or build_index):
        raise typer.BadParameter("give --text, --image or --audio, or several of these")
    from mmgenre.items.modalities import full_name
    from mmgenre.pipeline.search import Search, as_plain
    from mmgenre.pipeline.search import build_index as write_index

    found = None
    with shared.progress_bars() as progress:
        if build_index:
            folder = write_index(run, fusion, progress=progress)
            typer.echo(f"index: {folder}", err=True)
        if text is not None or image or audio:
            given = None if text is None else _words_or_file(text)
            with Search.open(
                run,
                fusion,
                approximate=approximate,
                entities_url=entities_url,
                allow=allow or (),
            ) as opened:
                if opened.tagger.licence is not None:
                    licence = opened.tagger.licence
                    typer.echo(f"licence of the frozen models: {licence}", err=True)
                with shared.usage():  # a modality that this run does not know
                    found = opened.find(
                        audio,
                        given,
                        image,
                        top=top,
                        within=None if within is None else full_name(within),
                        progress=progress,
                    )
    if found is not None:
        shared.show(as_plain(found), _lines(found), as_json=as_json)
        shared.finish(found.refused)


def _words_or_file(text: str) -> str | Path:
    """A file if there is one of that name.

    Raises:
        InputError: a name of a text file without blanks that is not there.
    """
    path = Path(text)
    try:
        if path.is_file():
            return path
    except (OSError, ValueError):  # words may be no possible name
        return text
    if path.suffix == ".txt" and not text.split()[1:]:
        raise InputError("missing", text, "no such file")
    return text


def _lines(found: Found) -> list[str]:
    lines = [f"by {', '.join(found.used)}; nearest first, cosine in the joint space"]
    for hit in found.hits:
        about = " - ".join(filter(None, (hit.artist, hit.album)))
        genres = ", ".join(hit.genres)
        lines.append(f"{hit.similarity:6.3f}  {hit.modality:<5}  {hit.id}  {about}  [{genres}]")
    return lines
