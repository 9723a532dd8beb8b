"""The export to ONNX says what the model says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from small import Small
from torch.nn import Identity

from mmgenre import GenreTagger, Manifest, MmgenreError
from mmgenre.disk.store import FeatureStore
from mmgenre.fusion.combine import Combination
from mmgenre.fusion.ensemble import Pattern, SolvedFusion
from mmgenre.fusion.experts import Expert
from mmgenre.fusion.onnx import export_onnx
from mmgenre.fusion.scaling import AS_THEY_ARE, GIVEN, KERNELS, LEARNED, FittedScaling, Scaling
from mmgenre.fusion.solve import Linear
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.labels import LabelSpace
from mmgenre.learning.encoder import Encoder
from mmgenre.learning.rows import item_of
from mmgenre.learning.targets import CosineTarget, LogisticTarget, Target
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.reading.extraction import extract_inputs
from mmgenre.text.settings import TextInput

PARITY = 1e-4
NAMES = ("audio", "image", "text")
Floats = NDArray[np.float32]


@pytest.fixture(scope="module", params=["text", pytest.param("all", marks=pytest.mark.slow)])
def tagger(
    small: Small, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> GenreTagger:
    """A solved head on texts, or on two views of every modality."""
    run = small.copy(tmp_path_factory.mktemp("onnx") / "run")
    if request.param == "all":
        views = [
            "audio.encoders=['cnn', 'statistics']",
            "text.encoders=['vsm', 'linear']",
            "image.encoders=['network', 'descriptors']",
        ]
        extract_features(run=run, settings=views)
    solved = ["fusion.solver=lbfgs", "fusion.combine=auto"]
    modalities = ("text",) if request.param == "text" else None
    result = fuse(modalities, run=run, seeds=1, joint=False, settings=solved)
    return GenreTagger.from_pretrained(run, result["name"])


def run_onnx(path: Path, **inputs: NDArray[Any]) -> Floats:
    session = onnxruntime.InferenceSession(path)
    result: list[Floats] = session.run(None, inputs)
    return result[0]


def test_from_media_to_genres_it_is_the_same(
    small: Small, tagger: GenreTagger, tmp_path: Path
) -> None:
    folder = export_onnx(tagger, tmp_path / "onnx")
    about = json.loads((folder / "model.json").read_text("utf-8"))
    manifest = Manifest.read(small.manifest)
    manifest = manifest.only(i for m in tagger.modalities for i in manifest.ids(having=[m]))
    vectors: dict[str, Floats] = {}
    for view, encoder in tagger.encoders.items():
        modality = view.partition(".")[0]
        store_path = tmp_path / f"{view}.h5"
        extract_inputs(manifest, modality, tagger.reads[view], store_path, workers=1)
        rows: dict[str, list[Floats]] = {}
        with FeatureStore(store_path, modality) as store:
            for row_id in store.ids:
                views = encoder.source(store).views([row_id], None)[0]
                assert list(views.shape[1:]) == about["encoders"][view]["views"][1:]
                path = folder / f"encoder-{view}.onnx"
                found = run_onnx(path, views=views).mean(axis=0)
                rows.setdefault(item_of(row_id), []).append(found)
        absent = np.zeros(about["head"][view][1], np.float32)
        means = {i: np.mean(tracks, axis=0) for i, tracks in rows.items()}
        vectors[view] = np.array([means.get(i, absent) for i in manifest.ids()], np.float32)
    scores = dict(zip(manifest.ids(), run_onnx(folder / "head.onnx", **vectors), strict=True))
    predictions, _ = replace(tagger, trust=None).predict_manifest(manifest)
    assert len(predictions) == len(manifest)
    for prediction in predictions:
        expected = {genre.name: genre.score for genre in prediction.genres}
        own = dict(zip(about["labels"], scores[prediction.id], strict=True))
        assert own == pytest.approx(expected, abs=PARITY)


def drawn(target: Target, scalings: dict[str, Scaling], labels: LabelSpace) -> SolvedFusion:
    """A fusion of drawn weights, with an expert for each input and one for all."""
    rng = np.random.default_rng(0)

    def linear(width: int) -> Linear:
        shape = (width, target.dim)
        return Linear(rng.normal(size=shape).astype(np.float32), rng.normal(size=target.dim)
                      .astype(np.float32))  # fmt: skip

    fitted = {}
    for name, scaling in scalings.items():
        rows = rng.lognormal(size=(150, 7)).astype(np.float32)
        fitted[name] = FittedScaling.fit(scaling, rows).of_length_1(rows)
    widths = {name: own(np.ones((1, 7), np.float32)).shape[1] for name, own in fitted.items()}
    experts = {n: Expert({n: own}, {n: 1.0}, linear(widths[n])) for n, own in fitted.items()}
    factors = {name: 0.5 + k for k, name in enumerate(fitted)}
    experts["all"] = Expert(fitted, factors, linear(sum(widths.values()) + len(fitted)))

    def pattern(*keys: str) -> Pattern:
        mean = rng.normal(size=(len(keys), target.dim)).astype(np.float32)
        weight = rng.random(len(keys)).astype(np.float32)
        bias = rng.normal(size=target.dim).astype(np.float32)
        return Pattern("product", keys, Combination(mean, weight, bias), rng.random(), {})

    one, two, three = sorted(fitted)
    patterns = {(one,): pattern(one), (two,): pattern(two), (one, two): pattern("all", one, two)}
    patterns[one, two, three] = pattern("all")
    prior = rng.normal(size=target.dim).astype(np.float32)
    return SolvedFusion(experts, patterns, prior, target, "logistic", labels)


@pytest.mark.parametrize(
    ("exclusive", "scalings"),
    [
        (True, (*LEARNED, KERNELS[1])),
        pytest.param(False, GIVEN[:3], marks=pytest.mark.slow),
        pytest.param(False, (KERNELS[0], GIVEN[3], AS_THEY_ARE), marks=pytest.mark.slow),
    ],
)
def test_every_scaling_and_set_of_inputs_is_the_same(
    tmp_path: Path, exclusive: bool, scalings: tuple[Scaling, ...]
) -> None:
    target = LogisticTarget(3, exclusive=exclusive)
    named = dict(zip(NAMES, scalings, strict=True))
    fusion = drawn(target, named, LabelSpace(("a", "b", "c"), exclusive))
    assert difference(fusion, tmp_path) < PARITY


@pytest.mark.slow
def test_a_cosine_head_is_the_same(tmp_path: Path) -> None:
    target = CosineTarget(5, 3)
    target.factors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    labels = LabelSpace(tuple("abcde"), exclusive=False)
    fusion = drawn(target, dict.fromkeys(NAMES, Scaling("standard")), labels)
    assert difference(fusion, tmp_path) < PARITY


def difference(fusion: SolvedFusion, folder: Path) -> float:
    """The greatest between scores, of items with any set of inputs, also none."""
    rng = np.random.default_rng(1)
    n = 64
    present = {name: rng.random(n) < 0.6 for name in fusion.widths}
    x = {
        name: rng.lognormal(size=(n, 7)).astype(np.float32) * here[:, None]
        for name, here in present.items()
    }
    expected = fusion.scores(FeatureTable(tuple(map(str, range(n))), x, present))
    export_onnx(GenreTagger({}, {}, None, fusion, "drawn"), folder / "onnx")
    found = run_onnx(folder / "onnx/head.onnx", **x)
    assert np.ptp(expected, axis=0).min() > 0.1
    return float(np.abs(expected - found).max())


def test_what_cannot_be_exported_is_refused(small: Small, tmp_path: Path) -> None:
    stepwise = GenreTagger.from_pretrained(small.run)
    with pytest.raises(MmgenreError, match="only solved heads"):
        export_onnx(stepwise, tmp_path / "onnx")
    assert not list(tmp_path.iterdir())
    with pytest.raises(MmgenreError, match="exists"):
        export_onnx(stepwise, tmp_path)


def test_an_encoder_that_reads_annotated_items_alone_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "annotations.jsonl"
    file.write_text('{"id": "known", "annotations": []}\n', encoding="utf-8")
    reads = TextInput.model_validate({"entities": {"annotator": "jsonl", "annotations": str(file)}})
    target, labels = LogisticTarget(3, exclusive=True), LabelSpace(("a", "b", "c"), True)
    fusion = drawn(target, dict.fromkeys(NAMES, AS_THEY_ARE), labels)
    tagger = GenreTagger(
        {"text": cast(Encoder, Identity())}, {"text": reads}, None, fusion, "drawn"
    )
    with pytest.raises(MmgenreError, match=r"encoder text: .* made-up item.*without --onnx"):
        export_onnx(tagger, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == [file]
