"""Audio through HuBERT and its kin: wav2vec 2.0, WavLM, and MERT-95M, which is a plain HuBERT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from mmgenre.errors import WeightsError
from mmgenre.frozen.models import Floats, strictly
from mmgenre.frozen.places import Place
from mmgenre.frozen.pooling import as_rows, layers_of, pooled
from mmgenre.frozen.settings import FrozenInput, Pool

WINDOW_S = 5.0  # as MERT was trained (Li et al. 2024, ICLR)
MERT = "mert_model"
# What makes a MERT another network than HuBERT, and the value that does not.
PLAIN_MERT = {"feature_extractor_cqt": False, "deepnorm": False, "attention_relax": -1.0}


@dataclass(frozen=True)
class Hubert:
    """Windows -> hidden states, pooled over time."""

    network: Any
    rate_hz: int
    window_s: float
    width: int
    normalised: bool  # each window to mean 0 and deviation 1, as its feature extractor does
    reads: FrozenInput
    pool: Pool

    @torch.inference_mode()
    def vectors(self, batch: Floats) -> Floats:
        """(n, samples) at `rate_hz` -> (n, width), or (n, layers, width)."""
        x = torch.from_numpy(batch)
        if self.normalised:
            x = (x - x.mean(dim=1, keepdim=True)) / (
                x.var(dim=1, correction=0, keepdim=True) + 1e-7
            ).sqrt()
        found = self.network(x.to(self.network.device), output_hidden_states=True)
        states = layers_of(found.hidden_states, self.reads.layer, self.reads.model)
        return as_rows(pooled(states, self.pool))


def load(place: Place, reads: FrozenInput) -> Hubert:
    """The model of a folder.

    Raises:
        WeightsError: a MERT that is no plain HuBERT, no rate, or settings that it cannot follow.
    """
    import transformers

    config, extractor = place.config(), place.config("preprocessor_config.json")
    if "sampling_rate" not in extractor:
        raise WeightsError(f"{place.folder}: preprocessor_config.json does not say sampling_rate")
    if reads.pool == "cls":
        raise WeightsError(f"{reads.model}: pool cls: it has no such place; give mean or mean+std")
    kind, more = config["model_type"], dict[str, Any]()
    if kind == MERT:
        odd = [key for key, plain in PLAIN_MERT.items() if config.get(key, plain) != plain]
        if odd:
            raise WeightsError(
                f"{place.name}: {odd[0]} = {config[odd[0]]}: no plain HuBERT, but code of its own, "
                "which is never run; take m-a-p/MERT-v1-95M"
            )
        own = {"auto_map", "architectures", "model_type", *PLAIN_MERT}
        plain = {key: value for key, value in config.items() if key not in own}
        kind, more = "hubert", {"config": transformers.HubertConfig(**plain)}
    names = {"hubert": "HubertModel", "wav2vec2": "Wav2Vec2Model", "wavlm": "WavLMModel"}
    heads = ("lm_head", "quantizer", "project_", "projector", "classifier", "final_proj",
             "label_embs_concat")  # fmt: skip
    network = strictly(getattr(transformers, names[kind]), place, heads, (), **more)
    width = network.config.hidden_size * (2 if reads.pool == "mean+std" else 1)
    return Hubert(
        network,
        int(extractor["sampling_rate"]),
        reads.window_s or WINDOW_S,
        width,
        bool(extractor.get("do_normalize", False)),
        reads,
        reads.pool or "mean",
    )
