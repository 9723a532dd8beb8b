"""Embedding covers in 8-bit integers: several times as fast on a CPU, nearly the same vectors.

Static quantisation after training, as in Jacob et al. 2018: weights and activations between layers
are 8-bit integers; the range of each activation is read off some covers. The trained network is
not touched: what is made here is a copy, for embedding only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from mmgenre.errors import MmgenreError
from mmgenre.image.backbones import BACKBONES, INT8_NETWORKS
from mmgenre.image.encoder import ImageEncoder
from mmgenre.learning.examples import Source

ENGINE = "x86"  # torch's name of its integer kernels for Intel and AMD
CALIBRATION_COVERS, CHECKED_COVERS, BATCH = 64, 16, 16
LEAST_COSINE = 0.99
FLOAT32 = "--set image.embedding_precision=float32"


def check_processor() -> None:
    """Refuses a machine without the integer kernels.

    Raises:
        MmgenreError: says what to set instead.
    """
    known = torch.backends.quantized.supported_engines
    if ENGINE not in known:
        raise MmgenreError(
            f"image.embedding_precision int8: this processor has no {ENGINE} integer kernels "
            f"(torch has {', '.join(known)}); embed with {FLOAT32}"
        )


def calibrated(encoder: ImageEncoder, source: Source, train_ids: Sequence[str]) -> ImageEncoder:
    """A copy of an encoder that embeds in 8-bit integers, calibrated and checked.

    Args:
        encoder: a trained one, on the CPU.
        source: its input rows.
        train_ids: rows of training items. 64 of them, evenly taken, calibrate; 16 others (the same
            where there are no others) are embedded both ways. The choice is the same each time,
            but processors with VNNI use one bit more of an activation than others.

    Raises:
        MmgenreError: no training row; no kernels here; or the two embeddings of a cover have a
            cosine below .99 on average.
    """
    check_processor()
    if not train_ids:
        raise MmgenreError(
            "image.embedding_precision int8: no training item has a cover to calibrate with; "
            f"embed with {FLOAT32}"
        )
    ids = sorted(train_ids)
    chosen = _evenly(ids, CALIBRATION_COVERS)
    others = sorted(set(ids) - set(chosen)) or chosen
    made = quantised(encoder, torch.from_numpy(source.views(chosen, None)[:, 0]))
    shown = torch.from_numpy(source.views(_evenly(others, CHECKED_COVERS), None)[:, 0])
    nearness = float(cosines(encoder, made, shown).mean())
    if not nearness >= LEAST_COSINE:  # NaN too
        raise MmgenreError(
            f"image.embedding_precision int8: embeddings of {encoder.config.network} have a mean "
            f"cosine of {nearness:.4f} to those in float32, and {LEAST_COSINE} is the least that "
            f"is allowed; these weights do not bear rounding: embed with {FLOAT32}"
        )
    return made


def quantised(encoder: ImageEncoder, covers: Tensor) -> ImageEncoder:
    """A copy of an encoder with its backbone in 8-bit integers; the dense layer stays in float32.

    Args:
        encoder: a trained one, on the CPU.
        covers: RGB bytes to read the ranges of activations off, (n, side, side, 3).

    Raises:
        MmgenreError: the encoder is on another device, or its network is not made for this.
    """
    network = encoder.config.network
    if not BACKBONES[network].int8:
        raise MmgenreError(
            f"image.embedding_precision int8: not for {network}, but for "
            f"{', '.join(INT8_NETWORKS)}; embed with {FLOAT32}"
        )
    if encoder.mean.device.type != "cpu":
        raise MmgenreError(
            f"image.embedding_precision int8: the encoder is on {encoder.mean.device}, and its "
            "integer kernels are the CPU's; move it there, or embed with float32 or bfloat16"
        )
    copy = deepcopy(encoder).eval()
    scaled = [copy.scaled(x) for x in torch.split(covers, BATCH)]
    copy.backbone = _quantised_network(copy.backbone, scaled)
    return copy.requires_grad_(False)


@torch.inference_mode()
def cosines(one: ImageEncoder, other: ImageEncoder, covers: Tensor) -> Tensor:
    """Between the embeddings that two encoders give covers, (n,)."""
    batches = torch.split(covers, BATCH)
    return torch.cat([nn.functional.cosine_similarity(one(x), other(x)) for x in batches])


def _evenly(ids: Sequence[str], most: int) -> list[str]:
    """At most so many of them, from the first to the last."""
    places = np.linspace(0, len(ids) - 1, min(most, len(ids))).round().astype(int)
    return [ids[k] for k in places]


def _quantised_network(network: nn.Module, batches: Sequence[Tensor]) -> nn.Module:
    from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx  # seconds to import

    with _engine():
        # Without VNNI, sums of two products of 8 bits overflow: "x86" leaves activations 7.
        bits = "onednn" if torch.cpu._is_vnni_supported() else ENGINE
        mapping = get_default_qconfig_mapping(bits)
        watched = quantize_fx.prepare_fx(network, mapping, (batches[0],))
        with torch.inference_mode():
            for batch in batches:
                watched(batch)
        return quantize_fx.convert_fx(watched)


@contextmanager
def _engine() -> Iterator[None]:
    """Packs weights for ENGINE, and keeps quiet what torch says of its own calls."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = ENGINE
    try:
        with warnings.catch_warnings():
            # Its successor, torchao, is another package; torch is pinned to a version that has it.
            warnings.filterwarnings("ignore", "torch.ao.quantization is deprecated")
            warnings.filterwarnings("ignore", "Please use quant_min and quant_max")
            yield
    finally:
        torch.backends.quantized.engine = before
