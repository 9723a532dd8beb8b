"""Families of frozen models: what they give, and what they refuse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from safetensors.torch import load_file, save_file

from mmgenre.audio.frozen import load_samples, vectors_of
from mmgenre.audio.settings import AudioInput
from mmgenre.errors import WeightsError
from mmgenre.frozen.models import load_model
from mmgenre.frozen.settings import FrozenInput

MEDIA = {"hubert": "audio", "clap": "audio", "dinov2": "image", "clip": "image", "siglip": "image",
         "bert": "text", "timm_network": "image"}  # fmt: skip
WIDTHS = {"hubert": 16, "clap": 16, "dinov2": 16, "clip": 16, "siglip": 16, "bert": 16,
          "timm_network": 800}  # fmt: skip


def model(folder: Path, medium: Any, **settings: Any) -> Any:
    return load_model(FrozenInput(model=f"dir:{folder}", **settings), medium)


def batch_for(own: Any, medium: str, n: int = 3) -> Any:
    rng = np.random.default_rng(0)
    if medium == "audio":
        return rng.normal(0, 0.1, (n, own.rate_hz)).astype(np.float32)
    if medium == "image":
        return rng.integers(0, 256, (n, own.size_px, own.size_px, 3), np.uint8)
    return [f"{word} song about the sea" for word in ("a sad", "an old", "no")][:n]


@pytest.mark.parametrize("name", MEDIA)
def test_a_vector_does_not_depend_on_its_batch(tiny: Mapping[str, Path], name: str) -> None:
    own = model(tiny[name], MEDIA[name])
    batch = batch_for(own, MEDIA[name])
    rows = own.vectors(batch)
    assert rows.shape == (3, own.width) == (3, WIDTHS[name])
    assert rows.dtype == np.float32
    assert len(np.unique(rows.round(5), axis=0)) == 3
    alone = np.concatenate([own.vectors(batch[k : k + 1]) for k in range(3)])
    np.testing.assert_allclose(rows, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "pool", "shape"),
    [
        (0, None, (2, 16)),
        ("mean", "mean", (2, 16)),
        ("last", "mean+std", (2, 32)),
        ("weighted", None, (2, 3, 16)),
    ],
)
def test_layers_and_pools_of_audio(
    tiny: Mapping[str, Path], layer: Any, pool: Any, shape: tuple[int, ...]
) -> None:
    own = model(tiny["hubert"], "audio", layer=layer, pool=pool)
    batch = batch_for(own, "audio", 2)
    rows = own.vectors(batch)
    assert rows.shape == shape
    x = batch - batch.mean(axis=1, keepdims=True)
    x /= np.sqrt(batch.var(axis=1, keepdims=True) + 1e-7)
    states = own.network(torch.from_numpy(x), output_hidden_states=True).hidden_states
    states = torch.stack(states).numpy()  # (3, n, frames, 16)
    expected = {
        0: states[0].mean(axis=1),
        "mean": states.mean(axis=0).mean(axis=1),
        "last": np.concatenate([states[-1].mean(axis=1), states[-1].std(axis=1, ddof=1)], axis=1),
        "weighted": states.mean(axis=2).transpose(1, 0, 2),
    }[layer]
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_the_class_token_or_the_patches_of_covers(tiny: Mapping[str, Path]) -> None:
    own = model(tiny["dinov2"], "image")
    batch = batch_for(own, "image", 2)
    x = torch.from_numpy((batch.astype(np.float32) / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)
    found = own.network(x)
    np.testing.assert_allclose(own.vectors(batch), found.pooler_output.numpy(), atol=1e-5)
    patches = found.last_hidden_state[:, 1:].mean(dim=1).numpy()
    pooled = model(tiny["dinov2"], "image", pool="mean").vectors(batch)
    np.testing.assert_allclose(pooled, patches, atol=1e-5)


def test_audio_is_resampled_to_the_models_rate_and_averaged_over_windows(
    tiny: Mapping[str, Path], tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    samples = rng.normal(0, 0.1, 44_100 * 12).astype(np.float32)
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, 44_100, subtype="FLOAT")
    settings = AudioInput(
        excerpt_s=12.0, frozen=FrozenInput(model=f"dir:{tiny['hubert']}", window_s=5.0)
    )
    own = model(tiny["hubert"], "audio", window_s=5.0)
    at_16 = soxr.resample(samples, 44_100, 16_000).astype(np.float32)
    starts = np.linspace(0, len(at_16) - 80_000, 3).round().astype(int)
    windows = np.stack([at_16[start : start + 80_000] for start in starts])
    np.testing.assert_allclose(
        vectors_of([load_samples(path, settings)], settings)[0],
        own.vectors(windows).mean(axis=0),
        atol=1e-4,
    )


def spoiled(tiny: Path, folder: Path, change: Callable[[Path], object]) -> Path:
    shutil.copytree(tiny, folder)
    change(folder)
    return folder


def drop_weight(folder: Path) -> None:
    file = folder / "model.safetensors"
    state = load_file(file)
    state.pop(sorted(state)[0])
    save_file(state, file, metadata={"format": "pt"})


def add_weight(folder: Path) -> None:
    file = folder / "model.safetensors"
    save_file({**load_file(file), "surprise": torch.zeros(3)}, file, metadata={"format": "pt"})


def reshape_weight(folder: Path) -> None:
    file = folder / "model.safetensors"
    state = load_file(file)
    name = max(state, key=lambda key: state[key].numel())
    state[name] = state[name][..., :-1].contiguous()
    save_file(state, file, metadata={"format": "pt"})


def cut_file(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize("name", MEDIA)
@pytest.mark.parametrize("change", [drop_weight, add_weight, reshape_weight, cut_file])
def test_weights_that_do_not_fit_are_an_error(
    tiny: Mapping[str, Path], tmp_path: Path, name: str, change: Callable[[Path], object]
) -> None:
    folder = spoiled(tiny[name], tmp_path / name, change)
    with pytest.raises(WeightsError, match=name):
        model(folder, MEDIA[name])


def with_config(**values: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        about = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**about, **values}), encoding="utf-8")

    return change


def test_a_plain_mert_is_a_hubert_and_another_is_refused(
    tiny: Mapping[str, Path], tmp_path: Path
) -> None:
    mert = {"model_type": "mert_model", "auto_map": {"AutoModel": "modeling_MERT.MERTModel"},
            "feature_extractor_cqt": False, "deepnorm": False, "attention_relax": -1.0}  # fmt: skip
    plain = spoiled(tiny["hubert"], tmp_path / "plain", with_config(**mert))
    own, hubert = model(plain, "audio"), model(tiny["hubert"], "audio")
    batch = batch_for(own, "audio")
    np.testing.assert_array_equal(own.vectors(batch), hubert.vectors(batch))
    odd = with_config(**{**mert, "attention_relax": 32.0})
    with pytest.raises(WeightsError, match=r"attention_relax = 32.0: no plain HuBERT"):
        model(spoiled(tiny["hubert"], tmp_path / "odd", odd), "audio")


def test_code_of_the_models_own_is_never_run(tiny: Mapping[str, Path], tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    foreign = {"model_type": "mine", "auto_map": {"AutoModel": "mine.Mine"}}

    def change(folder: Path) -> None:
        with_config(**foreign)(folder)
        (folder / "mine.py").write_text(f"open({str(mark)!r}, 'w')\nclass Mine: pass\n")

    for name in ("hubert", "dinov2", "bert"):
        folder = spoiled(tiny[name], tmp_path / name, change)
        with pytest.raises(WeightsError, match=r"own|mine"):
            model(folder, MEDIA[name])
    assert not mark.exists()


def test_a_model_of_another_medium_is_named(tiny: Mapping[str, Path]) -> None:
    with pytest.raises(WeightsError, match="a model of image; types for audio: hubert"):
        model(tiny["dinov2"], "audio")


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("hubert", {"layer": 3}, "layer 3: it has 0 to 2"),
        ("hubert", {"pool": "cls"}, "pool cls"),
        ("clap", {"layer": 1}, "leave layer and pool out"),
        ("clap", {"window_s": 11.0}, "at most 10"),
        ("clip", {"pool": "mean"}, "leave layer and pool out"),
        ("bert", {"layer": 1}, "leave layer and pool out"),
        ("timm_network", {"layer": 1}, 'give layer "last" without pool, or "stages"'),
        ("timm_network", {"pool": "cls"}, "no such place"),
        ("dinov2", {"layer": "stages"}, "one resolution"),
    ],
)
def test_settings_that_a_model_cannot_follow(
    tiny: Mapping[str, Path], name: str, settings: Any, said: str
) -> None:
    def use() -> None:
        own = model(tiny[name], MEDIA[name], **settings)
        own.vectors(batch_for(own, MEDIA[name]))

    with pytest.raises(WeightsError, match=said):
        use()


def test_long_texts_are_read_to_their_end(tiny: Mapping[str, Path]) -> None:
    own = model(tiny["bert"], "text")
    start = "a slow song " * 40
    assert not np.allclose(*own.vectors([start + "sea " * 40, start + "zzz " * 40]))


def test_clap_compares_sounds_and_words(tiny: Mapping[str, Path]) -> None:
    own = model(tiny["clap"], "audio")
    rows = own.words(["jazz", "heavy metal"])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
