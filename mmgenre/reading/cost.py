"""What an encoder costs, for planning: nothing is allocated, and no weights are needed."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmgenre.audio.decoding import N_BINS
from mmgenre.audio.encoder import AudioEncoder
from mmgenre.audio.timbre import N_NUMBERS
from mmgenre.audio.timbre_encoder import TimbreEncoder
from mmgenre.image.encoder import ImageConfig, ImageEncoder
from mmgenre.reading.network import EncoderConfig
from mmgenre.text.encoder import TextConfig, TextEncoder
from mmgenre.text.sentences import make_sentence_encoder


def forward_macs(config: EncoderConfig, n_words: int = 10_000) -> int:
    """Multiply-accumulates of convolutions and dense layers for one example: a patch, text, cover.

    The output layer of the task is not counted, nor is a sentence model: it runs once a text, not
    once an epoch. Of that the width is needed, so its folder must be there.

    Args:
        config: of an encoder.
        n_words: of the vocabulary, which is known only when it has been fitted.

    Raises:
        WeightsError: the sentence model is not there.
    """
    encoder, shape = _encoder_and_input(config, n_words)
    encoder.to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(torch.zeros(1, *shape, device="meta"))
    return int(counter.get_total_flops()) // 2  # a multiply-accumulate is two operations


def _encoder_and_input(config: EncoderConfig, n_words: int) -> tuple[nn.Module, tuple[int, ...]]:
    """An encoder without weights, and the shape of one example."""
    if isinstance(config, TextConfig) and config.encoder == "sentence-transformers":
        sentences = make_sentence_encoder(config)
        return sentences, (sentences.model.dim,)
    with torch.device("meta"):
        if isinstance(config, TextConfig):
            return TextEncoder(config, {"words": [""] * n_words, "idf": []}), (n_words,)
        if isinstance(config, ImageConfig):
            return ImageEncoder(config), (config.crop_px, config.crop_px, 3)
        if config.network == "timbre":
            return TimbreEncoder(config, "logistic"), (N_NUMBERS,)
        return AudioEncoder(config, "logistic"), (config.patch_frames, N_BINS)
