"""Media -> input stores. The only step that opens media."""

from __future__ import annotations

from functools import partial

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import provenance_of
from mmgenre.pipeline.artefact import Artefact, in_store, rows_of
from mmgenre.pipeline.recipe import View
from mmgenre.pipeline.run import Run, check_address, check_files
from mmgenre.progress import Progress
from mmgenre.reading.extraction import check_sources, extract_inputs, inputs_provenance


def inputs_of(
    run: Run,
    view: View,
    *,
    looking: bool = True,
    accept_missing: bool = False,
    workers: int | None = None,
    dask: str | None = None,
) -> Artefact:
    """The store of inputs that a view learns from.

    `looking`: whether media are looked at. If not, inputs that are there count as those of the
    media, which may have gone since; their settings count all the same. `accept_missing`: rows of
    files that have gone may be replaced by refusals.
    """
    check_files(run, view.modality)
    path = run.inputs(view.input_name)
    found = None if looking or run.pool else provenance_of(path, view.modality)
    provenance = _provenance(run, view, found["parameters"].get("media") if found else None)
    if run.pool is not None:
        path = run.place("inputs", view.modality, f"{provenance.fingerprint}.h5")

    def make(progress: Progress) -> None:
        check_address(run, view.modality)
        if not accept_missing:
            check_sources(run.manifest, view.modality, path)
        read = partial(extract_inputs, run.manifest, view.modality, view.reads, path)
        read(workers=workers, dask=dask, progress=progress)

    stored, verify = in_store(path, view.modality), rows_of(path, view.modality)
    return Artefact("read", view.input_name, path, provenance, (), stored, make, verify=verify)


def _provenance(run: Run, view: View, media: str | None = None) -> Provenance:
    """What inputs are made from: the media, as they are now unless a digest is given."""
    media = media or run.digests.get(view.modality)
    provenance = inputs_provenance(run.manifest, view.modality, view.reads, media)
    run.digests[view.modality] = provenance.parameters["media"]  # to look at all media once
    return provenance
