"""Where networks compute, and how their numbers and batches get there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mmgenre.learning import processes
from mmgenre.learning.settings import Tf32

Batch = dict[str, Tensor]
SPARSE_DEVICES = ("cpu", "cuda")  # that support sparse tensors
LAID_OUT = ("cuda",)  # devices on which networks of images have their weights channels last


def pick_device() -> torch.device:
    """The device of a launched rank; else the first CUDA device, Apple's, or the CPU."""
    if (own := processes.device()) is not None:
        return own
    mps_or_cpu = "mps" if torch.backends.mps.is_available() else "cpu"
    return torch.device("cuda" if torch.cuda.is_available() else mps_or_cpu)


def embedding_device() -> torch.device:
    """As `pick_device`, but for Apple's: that its vectors are those of a CPU is not tested."""
    device = pick_device()
    return device if device.type == "cuda" else torch.device("cpu")


def put(module: nn.Module, device: torch.device, *, channels_last: bool = False) -> None:
    """Moves a module to a device, with its weights in the layout of its inputs.

    Parts with the attribute `reads_channels_last`, which are networks of images, read pixels whose
    channels are side by side. Convolutions on CUDA would copy weights of another layout in every
    step. `channels_last`: all parts get that layout, on any device.
    """
    module.to(device)
    for part in module.modules():
        of_images = device.type in LAID_OUT and getattr(part, "reads_channels_last", False)
        if (channels_last and part is module) or of_images:
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def to_device(batch: Batch, module: nn.Module) -> Batch:
    """The batch on the module's device; dense where that has no sparse tensors, as Apple's MPS.

    From pinned memory it is copied while the GPU computes. MPS with dense rows has not been tested:
    no such device was available.
    """
    device = next(module.parameters()).device
    if device.type not in SPARSE_DEVICES:
        batch = {k: x.to_dense() if x.is_sparse else x for k, x in batch.items()}
    at_once = device.type == "cuda"
    return {name: tensor.to(device, non_blocking=at_once) for name, tensor in batch.items()}


@contextmanager
def tf32(where: Tf32, device: torch.device) -> Iterator[None]:
    """What a CUDA device computes in TF32, until the end of the block."""
    if device.type != "cuda":
        yield
        return
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    # Read by the newer names, and written by the older ones, which keep both in agreement: to read
    # the older ones is an error once a caller has set the newer.
    of_convolutions: str = convolutions.conv.fp32_precision  # type: ignore[attr-defined]
    before = products.fp32_precision == "tf32", of_convolutions == "tf32"
    products.allow_tf32, convolutions.allow_tf32 = where == "all", where != "none"
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before
