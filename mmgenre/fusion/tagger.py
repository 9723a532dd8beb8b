"""A trained run as a tool: any subset of audio, text and image -> ranked genres."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgenre.config import Settings
from mmgenre.disk.allowed import allowed, as_named
from mmgenre.disk.bundle import (
    Bundle,
    bundle_kind,
    bundle_provenance,
    bundle_state,
    odd_as_error,
)
from mmgenre.disk.locks import tidy
from mmgenre.disk.store import FeatureStore, group_names
from mmgenre.errors import BundleError, MmgenreError, Refusal, StoreError, VectorsWarning
from mmgenre.frozen.carried import reading_with
from mmgenre.frozen.licences import of_models
from mmgenre.fusion.built_in import model_folder
from mmgenre.fusion.by_onnx import ByNeed, OnnxEncoder, onnx_encoders
from mmgenre.fusion.embedded import Embedded, Vectors, embed_items, embedded, given_rows
from mmgenre.fusion.ensemble import KIND as SOLVED
from mmgenre.fusion.ensemble import SolvedFusion
from mmgenre.fusion.exported import check_exported, copy_model, notes_of, push
from mmgenre.fusion.in_memory import Cover, Track, as_files
from mmgenre.fusion.notes import model_notes
from mmgenre.fusion.pieces import Judge, with_pieces
from mmgenre.fusion.prediction import Prediction, one_item, the_one
from mmgenre.fusion.ranking import Asked, rank, worth_of
from mmgenre.fusion.stored import slices
from mmgenre.fusion.table import FeatureTable
from mmgenre.fusion.trust import TRUST, Trust
from mmgenre.fusion.whole import Parts, encoder_parent, model_of
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import JOINT, MODALITIES, Modality, modality_of
from mmgenre.kinds import kind_of
from mmgenre.learning.kind import Kind, address_in
from mmgenre.learning.rows import item_of
from mmgenre.progress import Progress, silent

if TYPE_CHECKING:  # torch takes seconds to import, and models of ONNX need none
    from mmgenre.fusion.head import FusionModel
    from mmgenre.fusion.joint import JointSpace
    from mmgenre.learning.encoder import Encoder

AT_ONCE = 2_000  # items: predictions of 250 genres each take 100 MB


class UnreadModalityError(ValueError):
    """An item has a modality that the model was not trained on."""


@dataclass(frozen=True, eq=False)
class GenreTagger:
    """Encoders, joint space and fusion head of a run, loaded once."""

    encoders: Mapping[str, Encoder]  # by view: "audio", "audio.statistics"
    reads: Mapping[str, Settings]  # of the inputs of each encoder
    joint: JointSpace | None
    fusion: FusionModel | SolvedFusion
    name: str  # of the fusion
    given: Mapping[str, int] = field(default_factory=dict)  # inputs made elsewhere -> their width
    # By view: the address that its texts would be sent to on the word of the model alone.
    unasked: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None  # of the model that it was loaded from
    by_onnx: Mapping[str, OnnxEncoder] = field(default_factory=dict)  # by view, without torch
    trust: Trust | None = None  # None: of a model of an earlier version
    notes: tuple[str, ...] = ()  # what of it stands at chance, or had too little data

    def __repr__(self) -> str:
        """`GenreTagger('multi-logistic-a+t', 24 genres, reads audio, text, from 'runs/x/...')`."""
        n = len(self.fusion.labels.names)
        place = "" if self.folder is None else f", from {str(self.folder)!r}"
        return f"{type(self).__name__}({self.name!r}, {n:,} genres, {self._needs()}{place})"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that it can name genres from."""
        own = {modality_of(view) for view in self.reads}
        return tuple(m for m in MODALITIES if m in own)

    @property
    def genres(self) -> tuple[str, ...]:
        """The genres that it knows, in the order of its scores."""
        return tuple(self.fusion.labels.names)

    @property
    def licence(self) -> str | None:
        """The strictest licence of the frozen models that it needs; None: it needs none."""
        found: str | None = of_models(frozen_models(self._loaded())).get("licence")
        return found

    @classmethod
    def from_pretrained(
        cls,
        run: Path | str,
        fusion: str | None = None,
        *,
        entities_url: str | None = None,
        allow: Collection[str] = (),
    ) -> GenreTagger:
        """Loads a fusion of a run, an exported model, or one of the hub (hf:OWNER/NAME).

        A fusion's own model folder, RUN/fusion/NAME/model, is a model, too. The text "catalogue"
        names the model of the synthetic catalogue, which the package carries for a first look; a
        folder of that name is "./catalogue" or a `Path`.

        `fusion` is the name of one of the run's fusions; default: the only one, or the one whose
        task and head are the run's own. `entities_url` is the address of the service that finds
        entities in texts, for a model that needs one: it is not contacted on the word of the model.
        Neither are files opened nor encoders of one's own imported that it names: `allow` lists
        those. What was named when a run was made here is allowed in its folder.

        Raises:
            BundleError: the run has no such fusion, or several of which none is its own; or what it
                was fitted on is not there (in a run of an earlier version: was made anew since); or
                it needs what is not allowed.
        """
        folder = model_folder(run)
        check_exported(folder)
        model, name = model_of(folder, fusion)
        tidy(model.parent)
        named = allowed(folder) | as_named([*allow, *([entities_url] if entities_url else [])])
        while True:
            before = bundle_state(model)
            try:
                return cls._read(model, None if model == folder else folder, name, named)
            except BundleError:
                if bundle_state(model) == before:  # else another process has just replaced it
                    raise

    @classmethod
    def _read(cls, model: Path, run: Path | None, name: str, named: Collection[str]) -> GenreTagger:
        provenance, kind_name = bundle_provenance(model), bundle_kind(model)
        with odd_as_error(model):
            is_solved = kind_name == SOLVED
            heads = SolvedFusion.load(model) if is_solved else _trained_head(model)
            assert provenance is not None  # or there would be no model
            parents = dict[str, str](provenance["parents"])  # fingerprints by name
        views = dict.fromkeys(name.removeprefix(JOINT) for name in heads.widths)
        parts = Parts(model, run, name, parents)
        joint = None
        if any(own.startswith(JOINT) for own in heads.widths):
            from mmgenre.fusion.joint import load_joint

            space = parts.joint()
            with odd_as_error(space):
                joint = load_joint(space)
        widths = {**(joint.widths if joint is not None else {}), **heads.widths}
        given = {view: widths[view] for view in views if encoder_parent(view) not in parents}
        with odd_as_error(model):
            kinds = {view: kind_of(modality_of(view)) for view in views if view not in given}
        places = {view: parts.encoder(view) for view in kinds}
        reads, by_onnx = onnx_encoders(model, places, named)
        load = {v: partial(_encoder, parts, v, kinds[v], named) for v in kinds}
        encoders: dict[str, Encoder] = {}
        for view in [view for view in kinds if view not in reads]:
            encoders[view], bundle = load[view]()
            with odd_as_error(places[view]):
                own = kinds[view].inputs.model_validate(bundle.config["reads"])
                reads[view] = reading_with(own, bundle)
        addresses = {view: url for view, own in reads.items() if (url := address_in(own))}
        unasked = {view: url for view, url in addresses.items() if url not in named}
        reads = {view: reads[view] for view in kinds}
        loaded = ByNeed(encoders, load)
        trust = Trust.load(model / TRUST) if (model / TRUST).is_dir() else None
        with odd_as_error(model):
            notes = (*notes_of(model), *model_notes(getattr(heads, "about", {}), places))
        return cls(loaded, reads, joint, heads, name, given, unasked, model, by_onnx, trust, notes)

    def predict(
        self,
        audio: Track | Sequence[Track] | None = None,
        text: Path | str | None = None,
        image: Cover | None = None,
        *,
        sr: int | None = None,
        explain: bool = False,
        risk: float | None = None,
        coverage: float = 0.9,
    ) -> Prediction:
        """Genres of one item from whichever modalities are given.

        Args:
            audio: a track, or those of an album, each a file, the bytes of one, or samples (n,) or
                (channels, n) at `sr` Hz.
            text: a file if a Path, else the text itself.
            image: a file, the bytes of one, a Pillow image, or pixels (height, width, 3).
            sr: the sampling rate of samples.
            explain: with `reasons`.
            risk: the prediction is unsure if its likeliest genre is wrong with a higher
                probability; None: only if the item is unlike those that the model was checked on.
            coverage: of the label set `likely`, .8, .9 or .95.

        Damaged media are left out, and listed in `refused` of the prediction.

        Raises:
            ValueError: nothing is given, or a modality that the model was not trained on, or no
                such risk or coverage is possible.
            InputError: nothing that is given can be used; it is of the first damaged file.
        """
        with as_files(audio, sr, image) as (tracks, cover):
            item = one_item(tracks, text, cover)
            self.check_modalities(item)
            found = self.predict_manifest(
                Manifest([item]), explain=explain, risk=risk, coverage=coverage
            )
            return the_one(*found)

    def check_modalities(self, item: Item) -> None:
        """UnreadModalityError if an item has a modality that the model was not trained on."""
        if unknown := sorted(item.media.keys() - set(self.modalities)):
            raise UnreadModalityError(f"{', '.join(unknown)}: this model {self._needs()}")

    def save_pretrained(self, folder: Path | str) -> Path:
        """Copies the model that it was loaded from into a new folder, which is whole without a run.

        `mmgenre export` also writes its card and figures, which only the run knows.

        Raises:
            MmgenreError: the folder exists, or the model is of an earlier version, which does not
                carry its encoders.
        """
        if self.folder is None:
            raise MmgenreError(f"{self.name}: was not loaded from a folder")
        return copy_model(self.folder, Path(folder), self.name)

    def push_to_hub(self, repository: str, *, private: bool = False) -> str:
        """Uploads the model to the Hugging Face hub as OWNER/NAME; returns its address."""
        with TemporaryDirectory(prefix="mmgenre-") as name:
            return push(self.save_pretrained(Path(name) / "model"), repository, private=private)

    def predict_manifest(
        self,
        manifest: Manifest | None = None,
        *,
        features: Mapping[str, Path] | None = None,
        explain: bool = False,
        risk: float | None = None,
        coverage: float = 0.9,
        workers: int | None = None,
        limit_s: float | None = None,
        progress: Progress = silent,
    ) -> tuple[list[Prediction], list[Refusal]]:
        """Genres of many items; damaged media are listed, the rest of the item is still used.

        An item of which nothing can be used gets no prediction and is listed with code `missing`.

        Args:
            manifest: the items; None: every id in `features` is one.
            features: vectors made elsewhere, name -> file, as `import_features` takes them; names
                and widths are those that the model was trained with.
            explain: each prediction has `reasons`, what its modalities, and words, seconds and
                parts of the cover, add to the score; takes seconds an item.
            risk: as of `predict`, like `coverage`.
            coverage: of the label sets.
            workers: processes that read media; None: one per core, and of a single item this one,
                which a decoder that crashes would end.
            limit_s: how long other processes may read a row; None: as `extract_inputs` does.
            progress: progress callback.

        Raises:
            StoreError: vectors that cannot be read, or of another width.
            BundleError: vectors that the model does not read, or texts that would be sent away.
        """
        asked = Asked(explain, risk, coverage)
        how: dict[str, Any] = {"workers": workers, "limit_s": limit_s}
        predictions, refused = list[Prediction](), list[Refusal]()
        for own, why in self.predict_parts(manifest, features, asked, **how, progress=progress):
            predictions += own
            refused += why
        return predictions, refused

    def predict_parts(
        self,
        manifest: Manifest | None = None,
        features: Mapping[str, Path] | None = None,
        asked: Asked | None = None,
        *,
        workers: int | None = None,
        limit_s: float | None = None,
        progress: Progress = silent,
    ) -> Iterator[tuple[list[Prediction], list[Refusal]]]:
        """As `predict_manifest`, in parts that are forgotten before the next one.

        Of items without media that the model reads, which vectors made elsewhere tell all about, a
        part is `AT_ONCE`; else all are one. `fusion.by_parts` keeps parts on disk.
        """
        asked = asked or Asked()
        how: dict[str, Any] = {"workers": workers, "limit_s": limit_s}
        with self.asked_for(manifest, features or {}) as (items, given):
            ids = items.ids()
            if any(items.count(having=[modality]) for modality in self.modalities):
                rows = given_rows(ids, given)
                yield self.predict_items(items, rows, asked, **how, progress=progress)
                return
            for start in range(0, len(ids), AT_ONCE):
                progress("naming genres", start, len(ids))
                part = items.only_rows(start, start + AT_ONCE)
                yield self.predict_items(part, given_rows(part.ids(), given), asked, **how)
            progress("naming genres", len(ids), len(ids))

    @contextmanager
    def asked_for(
        self, manifest: Manifest | None, features: Mapping[str, Path]
    ) -> Iterator[tuple[Manifest, dict[str, FeatureStore]]]:
        """The items that are to be predicted, and stores of the vectors made elsewhere.

        The stores are open until the end of the block; `given_rows` reads those of some items.
        """
        with ExitStack() as stack:
            given = self._given_vectors(features, stack)
            if manifest is None:
                manifest = Manifest.of_ids(i for own in given.values() for i in _ids_of(own))
            elif strange := [
                i for own in given.values() for i in _ids_of(own) if i not in manifest
            ]:
                text = f"{len(strange):,} ids of vectors are no item (first: {strange[0]!r})"
                warnings.warn(f"{manifest.where}: {text}", VectorsWarning, stacklevel=4)
            yield manifest, given

    def predict_items(
        self,
        manifest: Manifest,
        given: Mapping[str, Vectors],
        asked: Asked,
        *,
        workers: int | None = None,
        limit_s: float | None = None,
        progress: Progress = silent,
    ) -> tuple[list[Prediction], list[Refusal]]:
        """Genres of some items, by their media and by vectors that were given for them."""
        with TemporaryDirectory(prefix="mmgenre-") as folder:
            found = self._embedded(manifest, Path(folder), workers, progress, limit_s)
            refused = found.refused
            vectors = {name: given.get(name, {}) for name in self.given} | found.vectors
            table = self._table(manifest.ids(), vectors)
            has_input = np.any(list(table.present.values()), axis=0)
            order = (*self.modalities, *self.given)
            ranked = rank(
                self.fusion, self.trust, table.select(has_input), order, asked, found.notes
            )
            if asked.explain:
                worth = worth_of(self.fusion, self.trust)
                judge = Judge(
                    self.reads,
                    lambda view, store: embedded(view, self._encoder(view), store, silent).vectors[
                        view
                    ],
                    lambda ids, own: worth(self._table(ids, own)),
                    self.fusion.labels.names,
                )
                ranked = with_pieces(ranked, manifest, judge, found.inputs, vectors, progress)
        listed, why = (
            {item_of(r.id) for r in refused},
            f"has nothing to judge by: this model {self._needs()}",
        )
        refused += [
            Refusal(item_id, "all", "missing", f"{item_id}: {why}")
            for item_id, any_input in zip(table.ids, has_input, strict=True)
            if not any_input and item_id not in listed
        ]
        of: dict[str, tuple[Refusal, ...]] = {}
        for refusal in refused:
            item_id = item_of(refusal.id)
            of[item_id] = (*of.get(item_id, ()), refusal)
        return [replace(p, refused=of.get(p.id, ())) for p in ranked], refused

    def table_of(
        self, manifest: Manifest, *, workers: int | None = None, progress: Progress = silent
    ) -> tuple[FeatureTable, list[Refusal]]:
        """Vectors of items by input, joint ones among them, and media that cannot be used.

        Raises:
            BundleError: texts would be sent away.
        """
        with TemporaryDirectory(prefix="mmgenre-") as folder:
            found = self._embedded(manifest, Path(folder), workers, progress)
        given: dict[str, Vectors] = {name: {} for name in self.given}
        return self._joined(manifest.ids(), given | found.vectors), found.refused

    def joint_vectors(
        self, manifest: Manifest, *, workers: int | None = None, progress: Progress = silent
    ) -> tuple[FeatureTable, list[Refusal]]:
        """Vectors of items in the joint space, by input, and media that cannot be used.

        Inputs are named as `joint.audio`.

        Raises:
            BundleError: the model has no joint space, or texts would be sent away.
        """
        if self.joint is None:
            raise BundleError(f"{self.name}: has no joint space; make one: mmgenre fuse --joint")
        table, refused = self.table_of(manifest, workers=workers, progress=progress)
        return table.only([name for name in table.x if name.startswith(JOINT)]), refused

    def _embedded(
        self,
        manifest: Manifest,
        folder: Path,
        workers: int | None,
        progress: Progress,
        limit_s: float | None = None,
    ) -> Embedded:
        """What the items' media give; what was read of them lies in a folder."""
        for view, url in self.unasked.items():
            if manifest.count(having=[modality_of(view)]):
                raise BundleError(
                    f"encoder {view}: would send every text to {url}, which the model names and "
                    f"you did not. If you trust it: --entities-url {url}"
                )
        if workers is None and len(manifest) == 1:
            workers = 1  # to start others would take longer than to read
        return embed_items(
            manifest,
            self.reads,
            self._encoder,
            folder,
            workers=workers,
            limit_s=limit_s,
            progress=progress,
        )

    def _encoder(self, view: str) -> Encoder | OnnxEncoder:
        return self.by_onnx.get(view) or self.encoders[view]

    def _loaded(self) -> list[Encoder]:
        """The encoders that are loaded; others, which a model of ONNX has, are built in."""
        if isinstance(self.encoders, ByNeed):
            return self.encoders.made()
        return list(self.encoders.values())

    def _needs(self) -> str:
        """What it predicts from: "reads audio, text, and vectors made elsewhere (...)"."""
        own = ", ".join(self.modalities)
        if not self.given:
            return f"reads {own}"
        names = ", ".join(self.given)
        how = f"vectors made elsewhere ({names}; predict --features NAME=FILE)"
        return f"reads {own}{' and ' if own else ''}{how}"

    def _given_vectors(
        self, features: Mapping[str, Path], stack: ExitStack
    ) -> dict[str, FeatureStore]:
        """Input -> store of its vectors, of those in `features`; open until `stack` closes."""
        if not features:
            return {}
        from mmgenre.datasets.features import import_features  # which most models do without

        folder = stack.enter_context(TemporaryDirectory(prefix="mmgenre-"))
        path = import_features(features, Path(folder) / "features.h5")
        names = group_names(path)
        if unknown := [name for name in names if name not in self.given]:
            raise BundleError(f"vectors {', '.join(unknown)}: this model {self._needs()}")
        given = {name: stack.enter_context(FeatureStore(path, name)) for name in names}
        for name, store in given.items():
            width = store.row_shape[0]
            if width != self.given[name]:
                raise StoreError(
                    f"{features.get(name, name)}: {name} has vectors of width {width or 0:,}, and "
                    f"the model was trained on {self.given[name]:,}; were they made by another "
                    "program?"
                )
        return given

    def _table(self, ids: tuple[str, ...], vectors: Mapping[str, Vectors]) -> FeatureTable:
        """What the heads read."""
        return self._joined(ids, vectors).only(tuple(self.fusion.widths))

    def _joined(self, ids: tuple[str, ...], vectors: Mapping[str, Vectors]) -> FeatureTable:
        """The vectors of items, and those in the joint space, of each input that it is of."""
        x, present = {}, {}
        widths = dict(self.joint.widths if self.joint is not None else {}) | self.fusion.widths
        for view in (*self.reads, *self.given):
            rows, absent = vectors[view], np.zeros(widths[view], np.float32)
            x[view] = np.array([rows.get(i, absent) for i in ids], np.float32)
            present[view] = np.asarray(
                x[view].any(axis=1)
            )  # of zeros: says nothing, as in `gather`
        if self.joint is not None:
            from mmgenre.fusion.joint import project

            own = tuple(name for name in x if name in self.joint.widths)
            table = FeatureTable(ids, dict(x), dict(present)).only(own)
            for name, e in project(self.joint, table).items():
                here = present[f"{JOINT}{name}"] = present[name]
                x[f"{JOINT}{name}"] = np.zeros((len(ids), e.shape[1]), np.float32)
                x[f"{JOINT}{name}"][here] = e
        return FeatureTable(ids, x, present)


def _ids_of(store: FeatureStore) -> Iterator[str]:
    """Ids in order, none of which stays in memory."""
    for own in slices(len(store)):
        yield from store.ids_at(range(own.start, own.stop))


def _trained_head(model: Path) -> FusionModel:
    from mmgenre.fusion.head import FusionModel

    return FusionModel.load(model)


def _encoder(parts: Parts, view: str, kind: Kind, named: Collection[str]) -> tuple[Encoder, Bundle]:
    from mmgenre.learning.encoder import load_encoder

    folder = parts.encoder(view)  # looked up again: the model may have been replaced since
    with odd_as_error(folder):
        return load_encoder(folder, modality_of(view), kind, named)


def frozen_models(encoders: Iterable[Encoder]) -> list[Mapping[str, Any]]:
    """What is known of the frozen models among encoders."""
    states = [encoder.state() for encoder in encoders]
    return [state["frozen"] for state in states if "frozen" in state]
