"""Media -> input stores. The only step that opens media."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mmgenre.errors import MmgenreError
from mmgenre.pipeline.artefact import Artefact, in_store, rows_of
from mmgenre.pipeline.recipe import View
from mmgenre.pipeline.run import SYNTHETIC, Run, check_address, check_files
from mmgenre.progress import Progress, silent
from mmgenre.reading.extraction import (
    check_sources,
    extract_inputs,
    inputs_provenance,
    is_finished,
)
from mmgenre.reading.media import Media, digest_of, look, recorded


def inputs_of(
    run: Run,
    view: View,
    *,
    looking: bool = True,
    accept_missing: bool = False,
    check_content: bool = False,
    workers: int | None = None,
    dask: str | None = None,
    limit_s: float | None = None,
    merge: bool = True,
    progress: Progress = silent,
) -> Artefact:
    """The store of inputs that a view learns from.

    `looking`: whether media are looked at. If not, those of the run's items count as they were
    found last; they may have gone since. `accept_missing`: rows of files that have gone may be
    replaced by refusals. `check_content`: whether all files are compared by their bytes.
    `limit_s`: how long a row may be read. `merge`: whether its parts are merged, or stay.
    """
    run = run.inputs_from or run
    check_files(run, view.modality)
    path = run.inputs(view.input_name)
    media = media_of(run, view, looking=looking, check_content=check_content, progress=progress)
    provenance = inputs_provenance(run.manifest, view.modality, view.reads, media.digest)
    if run.pool is not None:
        path = run.place("inputs", view.modality, f"{provenance.fingerprint}.h5")

    def make(progress: Progress) -> None:
        check_address(run, view.modality)
        if not accept_missing:
            check_sources(run.manifest, view.modality, path)
        read = partial(extract_inputs, run.manifest, view.modality, view.reads, path)
        how: dict[str, Any] = {"workers": workers, "dask": dask, "progress": progress}
        how |= {"limit_s": limit_s, "merge": merge}
        read(media=media, record=run.record(view.modality), **how)

    whole, verify = in_store(path, view.modality), rows_of(path, view.modality)

    def stored() -> str | None:
        return whole() if is_finished(path, view.modality) else None

    return Artefact("read", view.input_name, path, provenance, (), stored, make, verify=verify)


def media_of(
    run: Run,
    view: View,
    *,
    looking: bool = False,
    check_content: bool = False,
    progress: Progress = silent,
) -> Media:
    """The media of a view's modality, looked at once in a run; if not `looking`, as recorded."""
    modality, record = view.modality, run.record(view.modality)
    if modality not in run.media and run.whole is not None:
        media = media_of(run.whole, view)
        run.media[modality] = replace(media, digest=digest_of(media.of(run.manifest, modality)))
    elif modality not in run.media:
        found = None if looking or run.pool else recorded(run.manifest, modality, record)
        base = Path("/") if run.dataset == SYNTHETIC else Path(run.dataset).parent
        how: dict[str, Any] = {"base": base, "check_content": check_content, "progress": progress}
        store = None if run.pool else run.inputs(view.input_name)
        run.media[modality] = found or look(run.manifest, modality, record, store=store, **how)
    return run.media[modality]


def check_limit(limit_s: float | None) -> None:
    """MmgenreError unless it is a time in which something can be read; None: no limit is given."""
    if limit_s is not None and not 0 < limit_s < math.inf:
        raise MmgenreError(f"a time limit of {limit_s} s for an item: more than 0 s")
