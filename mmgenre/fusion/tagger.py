"""A trained run as a tool: any subset of audio, text and image -> ranked genres."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.bundle import CONFIG, bundle_fingerprint
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import BundleError, InputError, Refusal
from mmgenre.fusion.head import FusionModel, predict
from mmgenre.fusion.joint import JointSpace, load_joint, project
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.manifest import MODALITIES, Item, Manifest, Modality
from mmgenre.progress import Progress, silent
from mmgenre.reading.extraction import extract_inputs
from mmgenre.reading.network import Encoder, embed, item_of, load_encoder, mean_by_item


@dataclass(frozen=True)
class Genre:
    """A genre and its score: see `Prediction.kind`."""

    name: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The genres of an item, likeliest first.

    `kind`: "probability" from a logistic head, "cosine" (-1 to 1) from a cosine head. `named`:
    the genres that the model would give the item. `used`: the modalities it was judged by.
    """

    id: str
    kind: Literal["probability", "cosine"]
    genres: tuple[Genre, ...]
    named: tuple[str, ...]
    used: tuple[Modality, ...]


class GenreTagger:
    """Encoders, joint space and fusion head of a run, loaded once.

    Covers are embedded in float32, also where the run embedded its own in 8-bit integers.
    """

    def __init__(
        self, encoders: dict[Modality, Encoder], joint: JointSpace | None, fusion: FusionModel
    ) -> None:
        self.encoders, self.joint, self.fusion = encoders, joint, fusion

    @classmethod
    def from_pretrained(cls, run: Path | str, fusion: str | None = None) -> GenreTagger:
        """Loads a run's models.

        Args:
            run: the run's folder.
            fusion: the name of one of its fusions; default: the only one, or the one whose task
                and head are the run's own.

        Raises:
            BundleError: the run has no such fusion, or several of which none is its own, or the
                encoders or the joint space were made anew since it was trained.
        """
        folder = Path(run)
        names = sorted(p.parent.name for p in folder.glob("fusion/*/model"))
        if not names:
            raise BundleError(f"{folder}: no fusion head; train one: mmgenre fuse --run {folder}")
        chosen = fusion or _own_fusion(folder, names)
        if chosen not in names:
            raise BundleError(f"{folder}: no fusion {chosen!r}; has {', '.join(names)}")
        model = FusionModel.load(folder / "fusion" / chosen / "model")
        inputs = tuple(model.head.widths)
        parents = parents_of(folder / "fusion" / chosen / "model")
        given = [n for n in inputs if n.removeprefix("joint.") not in MODALITIES]
        given += [n for n in inputs if n in MODALITIES and f"encoder.{n}" not in parents]
        if given:
            raise BundleError(
                f"{folder}: the fusion {chosen} reads vectors that were given to the run "
                f"({', '.join(given)}), and nothing here can make them from media"
            )
        needed = [m for m in MODALITIES if m in inputs or f"joint.{m}" in inputs]
        joint_used = any(name.startswith("joint.") for name in inputs)
        wanted = {folder / "encoders" / m: parents[f"encoder.{m}"] for m in needed}
        joint = None
        if joint_used:
            joint = _joint_folder(folder, chosen, parents)
        for path, fingerprint in wanted.items():
            if bundle_fingerprint(path) != fingerprint:
                raise BundleError(
                    f"{path}: not the one that the fusion {chosen} was trained on, so their "
                    f"scores would mean nothing; train the head again: mmgenre fuse --run {folder}"
                )
        encoders = {m: load_encoder(folder / "encoders" / m, m)[0] for m in needed}
        return cls(encoders, load_joint(joint) if joint else None, model)

    def predict(
        self,
        audio: Path | str | Sequence[Path | str] | None = None,
        text: Path | str | None = None,
        image: Path | str | None = None,
    ) -> Prediction:
        """Genres of one item from whichever modalities are given.

        Args:
            audio: one file, or the tracks of an album.
            text: a file if a Path, else the text itself.
            image: a file.

        Raises:
            ValueError: nothing is given, or a modality that the model was not trained on.
            InputError: a file is damaged.
        """
        tracks = [audio] if isinstance(audio, str | Path) else list(audio or [])
        given: dict[Modality, tuple[Path | str, ...]] = {}
        if tracks:
            given["audio"] = tuple(Path(track) for track in tracks)
        if text is not None:
            given["text"] = (text,)
        if image is not None:
            given["image"] = (Path(image),)
        if not given:
            raise ValueError("give at least one of audio, text, image")
        unknown = sorted(set(given) - set(self.encoders))
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: this model knows {', '.join(self.encoders)}")
        predictions, refused = self.predict_manifest(Manifest([Item("item", media=given)]))
        if refused:  # its detail reads "file: what is wrong [code]"
            code, text = refused[0].code, refused[0].detail
            where, _, detail = text.removesuffix(f" [{code}]").partition(": ")
            raise InputError(code, where, detail)
        return predictions[0]

    def predict_manifest(
        self, manifest: Manifest, *, workers: int | None = None, progress: Progress = silent
    ) -> tuple[list[Prediction], list[Refusal]]:
        """Genres of many items; damaged media are listed, the rest of the item is still used.

        An item of which nothing can be used gets no prediction and is listed with code `missing`.
        """
        vectors: dict[str, dict[str, NDArray[np.float32]]] = {}
        refused: list[Refusal] = []
        with TemporaryDirectory(prefix="mmgenre-") as folder:
            for modality, encoder in self.encoders.items():
                path = extract_inputs(
                    manifest,
                    modality,
                    encoder.config.input,
                    Path(folder) / f"{modality}.h5",
                    workers=workers,
                    progress=progress,
                )
                with FeatureStore(path, modality) as store:
                    refused += store.refused
                    source = encoder.source(store)
                    task = f"embedding {modality}"
                    rows = embed(encoder, source, store.ids, task=task, progress=progress)
                    ids, means = mean_by_item(store.ids, rows)
                    vectors[modality] = dict(zip(ids, means, strict=True))
        table = self._table(manifest.ids(), vectors)
        has_input = np.any(list(table.present.values()), axis=0)
        listed = {item_of(r.id) for r in refused}
        refused += [
            Refusal(item_id, "all", "missing", f"{item_id}: has none of {', '.join(self.encoders)}")
            for item_id, any_input in zip(table.ids, has_input, strict=True)
            if not any_input and item_id not in listed
        ]
        return self._rank(table.select(has_input)), refused

    def _table(
        self, ids: tuple[str, ...], vectors: dict[str, dict[str, NDArray[np.float32]]]
    ) -> FeatureTable:
        x, present = {}, {}
        for modality, encoder in self.encoders.items():
            rows = vectors[modality]
            present[str(modality)] = np.array([i in rows for i in ids], dtype=bool)
            absent = np.zeros(encoder.embedding_dim, np.float32)
            x[str(modality)] = np.array([rows.get(i, absent) for i in ids], np.float32)
        if self.joint is not None:
            table = FeatureTable(ids, dict(x), dict(present))
            for name, joint_rows in project(self.joint, table).items():
                here = present[name]
                x[f"joint.{name}"] = np.zeros((len(ids), joint_rows.shape[1]), np.float32)
                x[f"joint.{name}"][here] = joint_rows
                present[f"joint.{name}"] = here
        return FeatureTable(ids, x, present).only(tuple(self.fusion.head.widths))

    def _rank(self, table: FeatureTable) -> list[Prediction]:
        if not len(table):
            return []
        names, threshold = self.fusion.labels.names, self.fusion.threshold
        predictions = []
        for i, scores in enumerate(predict(self.fusion.head, self.fusion.target, table)):
            order = np.argsort(-scores, kind="stable")
            genres = tuple(Genre(names[j], float(scores[j])) for j in order)
            named = genres[:1] if threshold is None else [g for g in genres if g.score >= threshold]
            used = tuple(
                m
                for m in self.encoders
                if any(table.present[n][i] for n in table.present if n.removeprefix("joint.") == m)
            )
            predictions.append(
                Prediction(
                    table.ids[i],
                    "probability" if self.fusion.target_name == "logistic" else "cosine",
                    genres,
                    tuple(g.name for g in named),
                    used,
                )
            )
        return predictions


def _joint_folder(folder: Path, fusion: str, parents: Mapping[str, str]) -> Path:
    """The joint space that a fusion was trained on: a run has one a set of modalities."""
    wanted = next(parents[name] for name in sorted(parents) if name.startswith("joint."))
    for path in sorted((folder / "joint").glob("*/")):
        if bundle_fingerprint(path) == wanted:
            return path
    raise BundleError(
        f"{folder / 'joint'}: not the one that the fusion {fusion} was trained on, so its "
        f"scores would mean nothing; train the head again: mmgenre fuse --run {folder}"
    )


def parents_of(model: Path) -> dict[str, str]:
    """Fingerprints of what a model was made from, by name."""
    described = json.loads((model / CONFIG).read_text(encoding="utf-8"))
    return dict(described["provenance"]["parents"])


def _own_fusion(folder: Path, names: Sequence[str]) -> str:
    """The fusion that a run's recipe asks for, of most modalities and nothing else."""
    if len(names) == 1:
        return names[0]
    state = folder / "run.json"
    recipe = json.loads(state.read_text(encoding="utf-8"))["recipe"] if state.is_file() else None
    own = f"{recipe['labels']['task']}-{recipe['fusion']['head']}-" if recipe else None
    candidates = {
        "".join(letters): f"{own}{'+'.join(letters)}"
        for k in range(1, len(MODALITIES) + 1)
        for letters in combinations([m[0] for m in MODALITIES], k)
        if own and f"{own}{'+'.join(letters)}" in names
    }
    if not candidates:
        raise BundleError(f"{folder}: has {', '.join(names)}; name one with --fusion")
    return candidates[max(candidates, key=len)]
