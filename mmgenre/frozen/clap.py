"""Audio through CLAP (Wu et al. 2023, ICASSP), and words through its other half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mmgenre.errors import WeightsError
from mmgenre.frozen.models import Floats, strictly
from mmgenre.frozen.places import Place
from mmgenre.frozen.pooling import as_rows, projected
from mmgenre.frozen.settings import FrozenInput


@dataclass(frozen=True)
class Clap:
    """Windows -> its projection, of length 1."""

    network: Any
    extractor: Any
    tokenizer: Any
    rate_hz: int
    window_s: float
    width: int

    @torch.inference_mode()
    def vectors(self, batch: Floats) -> Floats:
        """(n, samples) at `rate_hz` -> (n, width)."""
        found = self.extractor(list(batch), sampling_rate=self.rate_hz, return_tensors="pt")
        # Where no window is too long, the extractor calls one at random so.
        found["is_longer"] = torch.zeros_like(found["is_longer"])
        return as_rows(projected(self.network.get_audio_features(**found.to(self.network.device))))

    @torch.inference_mode()
    def words(self, texts: Sequence[str]) -> Floats:
        """Texts -> (n, width), to compare with those of audio."""
        found = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        return as_rows(projected(self.network.get_text_features(**found.to(self.network.device))))


def load(place: Place, reads: FrozenInput) -> Clap:
    """The model of a folder.

    Raises:
        WeightsError: settings that it cannot follow.
    """
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    extractor = ClapFeatureExtractor.from_pretrained(place.folder, local_files_only=True)
    if reads.layer is not None or reads.pool is not None:
        raise WeightsError(
            f"{reads.model}: CLAP gives one vector a window; leave layer and pool out"
        )
    longest = float(extractor.max_length_s)
    if reads.window_s is not None and reads.window_s > longest:
        raise WeightsError(f"{reads.model}: window_s {reads.window_s:g}: at most {longest:g}")
    network = strictly(ClapModel, place)
    tokenizer = AutoTokenizer.from_pretrained(place.folder, local_files_only=True)
    rate_hz, window_s = int(extractor.sampling_rate), reads.window_s or longest
    return Clap(network, extractor, tokenizer, rate_hz, window_s, network.config.projection_dim)
