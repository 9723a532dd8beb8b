"""Seconds of a track as bytes that a page can hold and any browser plays."""

from __future__ import annotations

import base64
import io

import numpy as np
import soundfile
from numpy.typing import NDArray

from mmgenre.errors import InputError

RATE_HZ = 22_050
FADE_S = 0.05  # at both ends, so that nothing clicks
COMPRESSION = 0.7  # of variable bit rate: about 30 kbit/s, mono


def mp3_base64(samples: NDArray[np.floating]) -> str:
    """Mono samples (n,) at `RATE_HZ` as MP3 in base64.

    InputError where this installation cannot write MP3.
    """
    n = min(int(FADE_S * RATE_HZ), len(samples) // 2)
    ramp = np.linspace(0, 1, n)
    faded = np.clip(samples, -1, 1)
    faded[:n] *= ramp
    faded[len(faded) - n :] *= ramp[::-1]
    buffer, codec = io.BytesIO(), {"format": "MP3", "subtype": "MPEG_LAYER_III"}
    quality = {"compression_level": COMPRESSION, "bitrate_mode": "VARIABLE"}
    try:
        soundfile.write(buffer, faded, RATE_HZ, **codec, **quality)
    except (soundfile.LibsndfileError, ValueError) as error:
        raise InputError("unreadable", "excerpt", f"cannot be written as MP3 ({error})") from None
    return base64.b64encode(buffer.getvalue()).decode()
