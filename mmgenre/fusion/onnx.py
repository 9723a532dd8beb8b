"""A model for programs without torch: its encoders and its head as ONNX.

What comes before an encoder (decoding, constant-Q transform, words) is no part of the files: they
take what `Encoder.source(store).views` gives. A folder has

- `encoder-VIEW.onnx`: `views` (n, ...) -> `embeddings` (n, width). An item's vector is the mean
  over its views, and over its tracks;
- `head.onnx`: of each encoder `VIEW` (n, width), zeros where an item lacks it -> `scores`
  (n, n_labels);
- `model.json`: the genres, the score that names one, and the shapes.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.special import ndtri
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.disk.files import swap, temporary_name, write_json
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import MmgenreError
from mmgenre.fusion.ensemble import Pattern, SolvedFusion
from mmgenre.fusion.experts import Expert
from mmgenre.fusion.scaling import CLIP, N_QUANTILES, FittedScaling
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import Modality, modality_of
from mmgenre.learning.targets import CosineTarget
from mmgenre.reading.extraction import extract_inputs

OPSET = 20
SECONDS, SIZE_PX = 30, 256  # of the made-up item whose shapes are exported


def export_onnx(tagger: GenreTagger, folder: Path) -> Path:
    """Writes encoders and head of a model into a new folder.

    Raises:
        MmgenreError: the packages of the extra `onnx` are missing, the folder exists, or the model
            has a head that was fitted in steps (`fusion.solver = "sgd"`) or reads a joint space,
            or an encoder that ONNX has no operators for, or that reads named items only.
    """
    _check(tagger, folder)
    head = HeadModule(tagger.fusion)  # type: ignore[arg-type]
    about: dict[str, Any] = {
        "labels": list(tagger.fusion.labels.names),
        "exclusive": tagger.fusion.labels.exclusive,
        "threshold": tagger.fusion.threshold,
        "encoders": {},
    }
    beside = temporary_name(folder)
    beside.mkdir(parents=True)
    try:
        for view, views in _examples(tagger).items():
            encoder = cast(nn.Module, tagger.encoders[view])
            _export(encoder, {"views": views}, "embeddings", beside / f"encoder-{view}.onnx")
            about["encoders"][view] = {"views": ["n", *views.shape[1:]]}
        vectors = {name: torch.ones(2, width) for name, width in tagger.fusion.widths.items()}
        _export(head, vectors, "scores", beside / "head.onnx")
        about["head"] = {name: ["n", rows.shape[1]] for name, rows in vectors.items()}
        write_json(beside / "model.json", about)
        swap(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


class HeadModule(nn.Module):
    """A solved fusion as a torch module: vectors of inputs -> scores (n, n_labels), in float32.

    An item is judged by the pattern for just the inputs whose vectors are not zero; where there is
    none, by the best one that needs no other.
    """

    prior: Tensor
    factors: Tensor | None

    def __init__(self, fusion: SolvedFusion) -> None:
        super().__init__()
        self.order = list(fusion.widths)  # of the arguments
        self.names = sorted({name for pattern in fusion.patterns for name in pattern})
        self.experts = nn.ModuleDict({_key(k): _ExpertModule(e) for k, e in fusion.experts.items()})
        self.patterns = nn.ModuleList()
        self.inputs: list[tuple[str, ...]] = []
        # The best last: it overrules those before it, and the pattern of just these all others.
        by_quality = sorted(fusion.patterns.items(), key=lambda found: found[1].quality)
        for inputs, pattern in by_quality:
            self.patterns.append(_PatternModule(pattern))
            self.inputs.append(inputs)
        self.register_buffer("prior", torch.from_numpy(np.array(fusion.prior)))
        self.exclusive = fusion.labels.exclusive
        factors = None
        if isinstance(fusion.target, CosineTarget):
            factors = functional.normalize(torch.from_numpy(fusion.target.factors), dim=1)
        self.register_buffer("factors", factors)

    def forward(self, *rows: Tensor) -> Tensor:
        vectors = dict(zip(self.order, rows, strict=True))
        present = {name: (vectors[name] != 0).any(dim=1) for name in self.names}
        of_expert = {key: expert(vectors, present) for key, expert in self.experts.items()}
        outputs = self.prior.expand(rows[0].shape[0], -1)
        exact = [self._has(inputs, present, only=True) for inputs in self.inputs]
        for only in (False, True):
            for k, inputs in enumerate(self.inputs):
                here = exact[k] if only else self._has(inputs, present, only=False)
                found = self.patterns[k](of_expert)
                outputs = torch.where(here[:, None], found, outputs)
        if self.factors is not None:
            return functional.normalize(outputs, dim=1) @ self.factors.T
        return outputs.softmax(dim=1) if self.exclusive else outputs.sigmoid()

    def _has(self, inputs: tuple[str, ...], present: Mapping[str, Tensor], *, only: bool) -> Tensor:
        """Which items have the inputs, (n,); `only`: and no other."""
        found = [present[name] for name in inputs]
        if only:
            found += [~present[name] for name in self.names if name not in inputs]
        return torch.stack(found).all(dim=0)


class _PatternModule(nn.Module):
    """Outputs of its experts -> their combination."""

    mean: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, pattern: Pattern) -> None:
        super().__init__()
        self.keys = [_key(key) for key in pattern.experts]
        for part in ("mean", "weight", "bias"):
            array = np.array(getattr(pattern.combination, part))
            self.register_buffer(part, torch.from_numpy(array))

    def forward(self, of_expert: Mapping[str, Tensor]) -> Tensor:
        apart = torch.stack([of_expert[key] for key in self.keys], dim=1) - self.mean
        return self.bias + (self.weight[:, None] * apart).sum(dim=1)


class _ExpertModule(nn.Module):
    """Vectors of its inputs -> outputs (n, D), as `Expert` says."""

    weight: Tensor
    bias: Tensor

    def __init__(self, expert: Expert) -> None:
        super().__init__()
        self.names, self.factors = list(expert.scalings), dict(expert.factors)
        self.scalings = nn.ModuleList(_ScalingModule(s) for s in expert.scalings.values())
        self.register_buffer("weight", torch.from_numpy(np.array(expert.linear.weight)))
        self.register_buffer("bias", torch.from_numpy(np.array(expert.linear.bias)))

    def forward(self, vectors: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        blocks = []
        for name, scaling in zip(self.names, self.scalings, strict=True):
            rows = scaling(vectors[name]) * self.factors[name]
            blocks.append(rows * present[name][:, None])
        if len(self.names) > 1:
            absent = [~present[name] for name in self.names]
            blocks.append(torch.stack(absent, dim=1).to(torch.float32))
        return torch.cat(blocks, dim=1) @ self.weight + self.bias


class _ScalingModule(nn.Module):
    """Rows of an input -> scaled rows, as `FittedScaling` says."""

    directions: Tensor | None

    def __init__(self, fitted: FittedScaling) -> None:
        super().__init__()
        self.scaling = fitted.scaling
        for name, array in fitted.arrays.items():
            self.register_buffer(name, torch.from_numpy(np.array(array)))
        kernel = fitted.directions
        self.register_buffer("directions", None if kernel is None else torch.from_numpy(kernel))
        places = (np.arange(2 * N_QUANTILES + 1) / 2 + 0.5) / (N_QUANTILES + 1)
        self.register_buffer("deviates", torch.from_numpy(ndtri(places).astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        buffers = dict(self.named_buffers())
        if self.scaling.columns == "ranks":  # how many quantiles are below, and how many not above
            known = buffers["quantiles"][None]
            below = (known < x[:, None]).sum(dim=1) + (known <= x[:, None]).sum(dim=1)
            z = buffers["deviates"][below]
        else:
            z = (x - buffers["shift"]) / buffers["divide"]
        if self.scaling.columns in ("standard", "robust"):
            z = z.clamp(-CLIP, CLIP)
        if self.directions is not None:
            angles = z @ self.directions
            z = torch.cat([angles.cos(), angles.sin()], dim=1)
        if self.scaling.unit:
            length = (z * z).sum(dim=1, keepdim=True).sqrt()
            return z / torch.where(length > 0, length, torch.ones_like(length))
        return z * buffers["scale"] if "scale" in buffers else z


def _key(name: str) -> str:
    """The key of an expert, as torch allows it as a name of a module."""
    return name.replace(".", "_")


def _check(tagger: GenreTagger, folder: Path) -> None:
    if folder.exists():
        raise MmgenreError(f"{folder}: exists; give the name of a new folder")
    try:
        import_module("onnxscript")
    except ImportError as error:
        raise MmgenreError(
            f"{error}: the export to ONNX needs it; pip install 'mmgenre[onnx]'"
        ) from None
    if not isinstance(tagger.fusion, SolvedFusion) or tagger.joint is not None:
        raise MmgenreError(
            f"{tagger.name}: only solved heads on embeddings can be exported to ONNX; fuse once "
            "more with --set fusion.solver=lbfgs, without --joint"
        )
    for view, encoder in tagger.encoders.items():
        if not isinstance(encoder, nn.Module):
            raise MmgenreError(f"encoder {view}: {type(encoder).__name__} is no torch module")


def _export(module: nn.Module, example: Mapping[str, Tensor], output: str, path: Path) -> None:
    module.eval()
    batch = torch.export.Dim("n", min=1)
    shapes = tuple({0: batch} for _ in example)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                tuple(example.values()),
                input_names=list(example),
                output_names=[output],
                dynamic_shapes=(shapes,) if isinstance(module, HeadModule) else shapes,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise MmgenreError(
            f"{path.stem}: ONNX has no operators for it ({type(error).__name__}: "
            f"{str(error).strip().splitlines()[0]})"
        ) from error
    assert program is not None
    program.save(path, external_data=False)


def _examples(tagger: GenreTagger) -> dict[str, Tensor]:
    """What each encoder reads of a made-up item, (2 or more, ...)."""
    found = {}
    with TemporaryDirectory(prefix="mmgenre-") as name:
        folder = Path(name)
        for view, encoder in tagger.encoders.items():
            modality = modality_of(view)
            manifest = Manifest([Item("made-up", media={modality: _media(modality, folder)})])
            inputs = folder / f"{view}.h5"
            extract_inputs(manifest, modality, tagger.reads[view], inputs, workers=1)
            with FeatureStore(inputs, modality) as store:
                if store.refused:  # annotations listed by item have none for it
                    why = store.refused[0].detail
                    raise MmgenreError(
                        f"encoder {view}: ONNX takes its shapes from a made-up item, which this "
                        f"encoder cannot read ({why}); export without --onnx"
                    )
                views: NDArray[Any] = encoder.source(store).views(store.ids, None)
                rows = torch.from_numpy(views.reshape(-1, *views.shape[2:]))
                found[view] = torch.cat([rows, rows])  # of one row, torch exports one row
    return found


def _media(modality: Modality, folder: Path) -> tuple[Path | str, ...]:
    rng = np.random.default_rng(0)
    if modality == "audio":
        path = folder / "noise.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(SECONDS * 22050), 22050)
        return (path,)
    if modality == "image":
        path = folder / "noise.png"
        Image.fromarray(rng.integers(0, 256, (SIZE_PX, SIZE_PX, 3), np.uint8)).save(path)
        return (path,)
    return ("the words of a made-up song",)
