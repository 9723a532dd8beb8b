"""A signal's octaves, each at half the sampling rate of the one above, cut into frames.

Compiled. `mmgenre.audio.cqt` says what they are for.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray

from mmgenre.learning.compiling import compiled

Floats = NDArray[np.float32]

FRAME_SAMPLES = 128
HALF = FRAME_SAMPLES // 2
BLOCK = 1024  # outputs of a filter made at once: what it reads and writes stays in the L1 cache
# Samples at either end of an octave that are resampled sharply. Reflection at the ends folds what
# lies between the two filters' edges into the band, up to 9e-3 of the peak; 1024 leave 2e-4.
END_SAMPLES = 1024
SHARP_RADIUS = 192


def _half_band(beta: float = 7.0) -> tuple[float, ...]:
    """Taps 1, 3, ..., 23 of a 47-tap half-band filter: sinc under a Kaiser window.

    The even taps are 0 but for the middle one, 0.5. It passes up to 0.2 of the sampling rate, where
    the highest filter of the octave below ends, and stops from 0.3, what aliases onto that; 75 dB.
    """
    window = np.kaiser(47, beta)[24::2]
    taps = np.sinc(np.arange(1, 24, 2) / 2) / 2 * window
    return tuple((taps * 0.25 / taps.sum()).tolist())


T01, T03, T05, T07, T09, T11, T13, T15, T17, T19, T21, T23 = map(np.float32, _half_band())
MIDDLE = np.float32(0.5)


@cache
def sharp_taps() -> Floats:
    """The filter by which soxr halves a rate at high quality, (2 * SHARP_RADIUS + 1,).

    Read off soxr's answers to impulses at an even and at an odd sample; it has 365 taps.
    """
    taps = np.zeros(2 * SHARP_RADIUS + 1, np.float32)
    at = 4 * SHARP_RADIUS
    for position in (at, at + 1):
        impulse = np.zeros(2 * at, np.float32)
        impulse[position] = 1
        answer = soxr.resample(impulse, 2, 1)
        offsets = position - 2 * np.arange(len(answer))
        near = np.abs(offsets) <= SHARP_RADIUS
        taps[SHARP_RADIUS + offsets[near]] = answer[near]
    return taps


# Loops over nothing but whole arrays, a function each: the compiler then takes eight at a time.


def _split(samples: Floats, even: Floats, odd: Floats) -> None:
    """Every second sample, and the others."""
    for i in range(len(even)):
        even[i] = samples[2 * i]
        odd[i] = samples[2 * i + 1]


_split = compiled(_split)


def _mix(stereo: Floats, mono: Floats) -> None:
    """Left, right, left, right, ... -> their means."""
    for i in range(len(mono)):
        mono[i] = (stereo[2 * i] + stereo[2 * i + 1]) * MIDDLE


_mix = compiled(_mix)


def _filter(even: Floats, odd: Floats, out: Floats) -> None:
    """Half-band outputs; out[i] lies at even[i + 12] and between odd[i + 11] and odd[i + 12]."""
    for i in range(len(out)):
        out[i] = (
            MIDDLE * even[i + 12]
            + T01 * (odd[i + 12] + odd[i + 11])
            + T03 * (odd[i + 13] + odd[i + 10])
            + T05 * (odd[i + 14] + odd[i + 9])
            + T07 * (odd[i + 15] + odd[i + 8])
            + T09 * (odd[i + 16] + odd[i + 7])
            + T11 * (odd[i + 17] + odd[i + 6])
            + T13 * (odd[i + 18] + odd[i + 5])
            + T15 * (odd[i + 19] + odd[i + 4])
            + T17 * (odd[i + 20] + odd[i + 3])
            + T19 * (odd[i + 21] + odd[i + 2])
            + T21 * (odd[i + 22] + odd[i + 1])
            + T23 * (odd[i + 23] + odd[i])
        )


_filter = compiled(_filter)


def _halve(samples: Floats, out: Floats) -> None:
    """Every second sample of the half-band-filtered signal, which is 0 outside itself."""
    n = len(samples)
    even, odd = np.empty(BLOCK + 24, np.float32), np.empty(BLOCK + 24, np.float32)
    edge = np.empty(2 * (BLOCK + 24), np.float32)
    for start in range(0, len(out), BLOCK):
        count = min(BLOCK, len(out) - start)
        first, wanted = 2 * (start - 12), 2 * (count + 24)
        if first >= 0 and first + wanted <= n:
            block = samples[first : first + wanted]
        else:
            block = edge[:wanted]
            for i in range(wanted):
                block[i] = samples[first + i] if 0 <= first + i < n else np.float32(0)
        _split(block, even[: count + 24], odd[: count + 24])
        _filter(even, odd, out[start : start + count])


halve = compiled(_halve)


def _halve_stereo(samples: Floats, out: Floats) -> None:
    """`_halve` of the mean of two channels, (n, 2), mixed on the way: a pass over memory less."""
    n, flat = len(samples), samples.reshape(-1)
    even, odd = np.empty(BLOCK + 24, np.float32), np.empty(BLOCK + 24, np.float32)
    mono = np.empty(2 * (BLOCK + 24), np.float32)
    for start in range(0, len(out), BLOCK):
        count = min(BLOCK, len(out) - start)
        first, wanted = 2 * (start - 12), 2 * (count + 24)
        block = mono[:wanted]
        if first >= 0 and first + wanted <= n:
            _mix(flat[2 * first : 2 * (first + wanted)], block)
        else:
            for i in range(wanted):
                block[i] = np.float32(0)
                if 0 <= first + i < n:
                    block[i] = (samples[first + i, 0] + samples[first + i, 1]) * MIDDLE
        _split(block, even[: count + 24], odd[: count + 24])
        _filter(even, odd, out[start : start + count])


halve_stereo = compiled(_halve_stereo)


def _halve_sharply(samples: Floats, first: int, count: int, taps: Floats) -> Floats:
    """Outputs first, first + 1, ... of the sharp filter; `samples` are 0 outside themselves."""
    radius, n = len(taps) // 2, len(samples)
    even, odd = np.empty(count + radius, np.float32), np.empty(count + radius, np.float32)
    for i in range(count + radius):
        at = 2 * (first + i) - radius
        even[i] = samples[at] if 0 <= at < n else np.float32(0)
        odd[i] = samples[at + 1] if 0 <= at + 1 < n else np.float32(0)
    out = np.zeros(count, np.float32)
    for k in range(radius):
        for i in range(count):
            out[i] += taps[2 * k] * even[i + k] + taps[2 * k + 1] * odd[i + k]
    return out


halve_sharply = compiled(_halve_sharply)


def _halve_ends(samples: Floats, head: Floats, tail: Floats, taps: Floats) -> tuple[Floats, Floats]:
    """The first and last samples of the next octave, resampled sharply.

    `head` and `tail` are the sharp ends of this octave, `samples` what lies between them.
    """
    n, ends, radius = len(samples), len(head), len(taps) // 2
    half = (n + 1) // 2
    count = min(END_SAMPLES, half)
    first = half - count
    stop = min(2 * count + radius, n)
    start = max(2 * first - radius, 0) // 2 * 2
    near, far = samples[:stop].copy(), samples[start:].copy()
    near[:ends] = head[:stop]
    far[max(n - ends - start, 0) :] = tail[max(start - (n - ends), 0) :]
    if stop > n - ends:  # a short signal, whose ends meet
        near[n - ends :] = tail[: stop - (n - ends)]
    if start < ends:
        far[: ends - start] = head[start:]
    return (
        halve_sharply(near, 0, count, taps),
        halve_sharply(far, first - start // 2, count, taps),
    )


halve_ends = compiled(_halve_ends)


def _copy(samples: Floats, out: Floats) -> None:
    for i in range(len(out)):
        out[i] = samples[i]


_copy = compiled(_copy)


def _cut_frames(
    samples: Floats, head: Floats, tail: Floats, hop_samples: int, frames: Floats
) -> None:
    """Fills `frames`, (n_frames, FRAME_SAMPLES), centred at multiples of the hop.

    The signal is reflected at its ends, which are `head` and `tail`.
    """
    n = len(samples)
    for t in range(len(frames)):
        start = t * hop_samples - HALF
        if start >= 0 and start + FRAME_SAMPLES <= n:
            _copy(samples[start : start + FRAME_SAMPLES], frames[t])
        else:
            for i in range(FRAME_SAMPLES):
                at = abs(start + i)
                if at >= n:
                    at = 2 * (n - 1) - at
                frames[t, i] = head[at] if at < len(head) else tail[at - (n - len(tail))]


cut_frames = compiled(_cut_frames)


def _magnitudes(responses: Floats, scale: float, out: Floats) -> None:
    """(n_frames, 2 * bins), real parts and then imaginary ones -> (n_frames, bins)."""
    bins = out.shape[1]
    factor = np.float32(scale)
    for t in range(len(out)):
        for k in range(bins):
            real, imaginary = responses[t, k], responses[t, bins + k]
            out[t, k] = factor * np.sqrt(real * real + imaginary * imaginary)


magnitudes = compiled(_magnitudes)


def peak(samples: Floats) -> float:
    """The largest magnitude; NaN if there is one.

    Without their sign, floats are in the order of their bits, and NaN is the last.
    """
    return float(np.uint32(_largest(samples.view(np.uint32))).view(np.float32))


def _largest(bits: NDArray[np.uint32]) -> int:
    largest = np.uint32(0)
    for i in range(len(bits)):
        largest = max(largest, bits[i] & np.uint32(0x7FFFFFFF))
    return largest  # type: ignore[return-value]


_largest = compiled(_largest)
