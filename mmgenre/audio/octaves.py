"""A signal's octaves, each at half the sampling rate of the one above, cut into frames."""

from __future__ import annotations

from functools import cache

import numpy as np
import soxr

from mmgenre.audio.jit import Floats, jit

FRAME_SAMPLES = 128
HALF = FRAME_SAMPLES // 2
OUTPUTS_AT_ONCE = 1024  # of a filter: what it reads and writes stays in the L1 cache
# Samples at either end of an octave that are resampled with the sharp filter. Reflection at the
# ends folds what lies between the two filters' edges into the band: an error of up to 9e-3 of the
# peak, which 1024 samples reduce to 2e-4.
END_SAMPLES = 1024
SHARP_RADIUS = 192


def _half_band(beta: float = 7.0) -> tuple[float, ...]:
    """Taps 1, 3, ..., 23 of a 47-tap half-band filter: sinc under a Kaiser window.

    The even taps are 0 except the middle one, 0.5. The passband ends at 0.2 of the sampling rate,
    where the highest filter of the octave below ends; the stopband begins at 0.3, which would alias
    onto that, with 75 dB of attenuation.
    """
    window = np.kaiser(47, beta)[24::2]
    taps = np.sinc(np.arange(1, 24, 2) / 2) / 2 * window
    return tuple((taps * 0.25 / taps.sum()).tolist())


T01, T03, T05, T07, T09, T11, T13, T15, T17, T19, T21, T23 = map(np.float32, _half_band())
MIDDLE = np.float32(0.5)


@cache
def sharp_taps() -> Floats:
    """The filter with which soxr halves a rate at high quality, (2 * SHARP_RADIUS + 1,).

    Taken from soxr's responses to impulses at an even and at an odd sample; it has 365 taps.
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


# Loops over whole arrays, one function per loop, so that the compiler vectorises each.


@jit
def _split(samples: Floats, even: Floats, odd: Floats) -> None:
    """Separates the samples at even and at odd positions."""
    for i in range(len(even)):
        even[i] = samples[2 * i]
        odd[i] = samples[2 * i + 1]


@jit
def _mix(stereo: Floats, mono: Floats) -> None:
    """Interleaved stereo, (2 n,), to the mean of both channels, (n,)."""
    for i in range(len(mono)):
        mono[i] = (stereo[2 * i] + stereo[2 * i + 1]) * MIDDLE


@jit
def _filter(even: Floats, odd: Floats, out: Floats) -> None:
    """Half-band outputs; out[i] is at even[i + 12], between odd[i + 11] and odd[i + 12]."""
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


@jit
def halve(samples: Floats, channels: int, out: Floats) -> None:
    """Every second sample of the half-band-filtered signal, which is 0 outside its bounds.

    `samples` are mono, or stereo with the channels interleaved; stereo is mixed block by block,
    which saves a pass over memory.
    """
    n = len(samples) // channels
    even = np.empty(OUTPUTS_AT_ONCE + 24, np.float32)
    odd = np.empty_like(even)
    mono = np.empty(2 * (OUTPUTS_AT_ONCE + 24), np.float32)
    for start in range(0, len(out), OUTPUTS_AT_ONCE):
        count = min(OUTPUTS_AT_ONCE, len(out) - start)
        first, needed = 2 * (start - 12), 2 * (count + 24)
        low, high = max(first, 0), min(first + needed, n)
        block = mono[:needed]
        if low > first or high < first + needed:
            block[:] = 0
        if channels == 2:
            _mix(samples[2 * low : 2 * high], block[low - first : high - first])
        elif high - low < needed:
            block[low - first : high - first] = samples[low:high]
        else:
            block = samples[low:high]
        _split(block, even[: count + 24], odd[: count + 24])
        _filter(even, odd, out[start : start + count])


@jit
def halve_sharply(samples: Floats, first: int, count: int, taps: Floats) -> Floats:
    """Outputs first, first + 1, ... of the sharp filter; `samples` are 0 outside their bounds."""
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


@jit
def halve_ends(samples: Floats, head: Floats, tail: Floats, taps: Floats) -> tuple[Floats, Floats]:
    """The first and last samples of the next octave, resampled with the sharp filter.

    `head` and `tail` are such ends of this octave; `samples` are all of this octave.
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
    return halve_sharply(near, 0, count, taps), halve_sharply(far, first - start // 2, count, taps)


@jit
def cut_frames(samples: Floats, head: Floats, tail: Floats, hop: int, frames: Floats) -> None:
    """Fills `frames`, (n_frames, FRAME_SAMPLES), centred at multiples of `hop` samples.

    The signal is reflected at its ends, `head` and `tail`, as often as it takes.
    """
    n = len(samples)
    period = max(2 * (n - 1), 1)
    for t in range(len(frames)):
        start = t * hop - HALF
        if start >= 0 and start + FRAME_SAMPLES <= n:
            for i in range(FRAME_SAMPLES):  # nearly twice as fast as the assignment of a slice
                frames[t, i] = samples[start + i]
        else:
            for i in range(FRAME_SAMPLES):
                at = abs(start + i) % period
                at = at if at < n else period - at
                frames[t, i] = head[at] if at < len(head) else tail[at - (n - len(tail))]


@jit
def magnitudes(responses: Floats, scale: float, out: Floats) -> None:
    """(n_frames, 2 * bins), real parts and then imaginary parts -> (n_frames, bins)."""
    bins, factor = out.shape[1], np.float32(scale)
    for t in range(len(out)):
        for k in range(bins):
            real, imaginary = responses[t, k], responses[t, bins + k]
            out[t, k] = factor * np.sqrt(real * real + imaginary * imaginary)
