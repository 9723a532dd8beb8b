"""Files of codecs that soundfile does not write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

RATE_HZ = 44_100


def encode(
    path: Path,
    codec: str,
    samples: NDArray[np.int16],
    kind: str | None = None,
    *,
    rate_hz: int = RATE_HZ,
) -> Path:
    """Samples, (n,) or (channels, n), as a file of a codec."""
    rows = np.atleast_2d(samples)
    layout = "mono" if len(rows) == 1 else "stereo"
    with av.open(str(path), "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=rate_hz, layout=layout)
        if codec == "wmav2":
            stream.bit_rate = 128_000
        known = [form.name for form in stream.codec_context.codec.audio_formats]
        stream.codec_context.format = next(f for f in ("s16", "s16p", "fltp") if f in known)
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 4096
        fit = av.AudioResampler(stream.codec_context.format, layout, rate_hz, size)
        frame = av.AudioFrame.from_ndarray(rows.T.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = rate_hz
        for part in (*fit.resample(frame), *fit.resample(None), None):
            container.mux(stream.encode(part))
    return path
