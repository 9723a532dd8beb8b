"""The constant-Q transform of many excerpts at once, on whatever device they are.

For those whose samples are on a GPU already; the input stage, where decoding takes most of the
time, has `mmgenre.audio.cqt`. Each octave is resampled by soxr's own filter, as one convolution,
so that the error against librosa is that of `exact` there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mmgenre.audio.cqt import BINS_PER_OCTAVE, N_OCTAVES, basis
from mmgenre.audio.decoding import HOP_SAMPLES
from mmgenre.audio.octaves import FRAME_SAMPLES, HALF, SHARP_RADIUS, sharp_taps


@torch.no_grad()
def batch_cqt(samples: Tensor) -> Tensor:
    """Mono samples at 22 050 Hz, (batch, n) -> CQT magnitudes, (batch, frames, 96).

    >>> batch_cqt(torch.randn(2, 22_050)).shape
    torch.Size([2, 22, 96])
    """
    filters = torch.from_numpy(basis()).to(samples)
    taps = torch.from_numpy(sharp_taps()).to(samples)[None, None]
    n_frames = 1 + samples.shape[-1] // HOP_SAMPLES
    octaves = []
    for octave in range(N_OCTAVES):
        padded = functional.pad(samples[:, None], (HALF, HALF), mode="reflect")[:, 0]
        frames = padded.unfold(-1, FRAME_SAMPLES, HOP_SAMPLES >> octave)[:, :n_frames]
        real, imaginary = torch.split(frames @ filters, BINS_PER_OCTAVE, dim=-1)
        octaves.append(2 ** (octave / 2) * torch.hypot(real, imaginary))
        if octave + 1 < N_OCTAVES:
            padded = functional.pad(samples[:, None], (SHARP_RADIUS, SHARP_RADIUS))
            samples = functional.conv1d(padded, taps, stride=2)[:, 0]
    return torch.cat(octaves[::-1], dim=-1)
