"""Fingerprints of recordings: what stays in another codec, quieter, shifted, cut or with noise.

Peaks of the constant-Q transform, three at a time, are landmarks (after Wang 2003 and Six and Leman
2014): their bins and the frames between them, whatever the level and the place in the track. Tracks
are one recording if many of their landmarks are the same, all with the same shift in time. How well
this works is measured in tests/datasets/test_near_twins.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mmgenre.audio.jit import Floats, jit
from mmgenre.audio.settings import HOP_SAMPLES, SAMPLE_RATE_HZ
from mmgenre.disk.store import FeatureStore
from mmgenre.items.twins import Groups, Pair, Twins
from mmgenre.progress import Progress

Landmarks = NDArray[np.uint64]  # (n,): key << TIME_BITS | frame of the first peak

# Bins of the transform that are used, 52 Hz to 2 kHz: any sampling rate and bit rate keeps them,
# and their filters are long enough that a shift by half a frame hardly changes them.
LOWEST, N_USED = 8, 64
FRAMES_AROUND, BINS_AROUND = 8, 5  # within which a peak is the highest
RANGE_DB = 60.0  # below the loudest value nothing is a peak
NEXT = 5  # peaks after the first one of which two make a landmark with it
LONGEST = 48  # frames from the first to the last peak, 2.2 s
SPAN_FRAMES = 2  # spans are counted in these, as peaks move by a frame
BIN_BITS, SPAN_BITS, TIME_BITS, TRACK_BITS = 6, 5, 16, 20
MOST = 1 << TRACK_BITS  # tracks
LATEST = (1 << TIME_BITS) - 1  # frame
SHIFT_BITS = TIME_BITS + 1

# One recording: so many landmarks with one shift, and this share of those of the shorter track.
LEAST_COUNT, LEAST_SHARE = 14, 0.02
NEIGHBOURS = 32  # equal landmarks that each one is compared with; there are more in hums and loops
AT_ONCE = 1 << 21  # landmarks compared at a time
MOST_COUNTER_BITS = 28
# More landmarks than these have are thinned out, down to a sample; some 115 000 clips of 30 s are
# compared by a fifth of theirs.
MOST_HOURS, LEAST_SAMPLE = 190, 0.1
COMPARING = "comparing tracks"
PRINTS = "tracks 1"  # changed whenever the same track would give other landmarks
MIXING = np.uint64(0x9E3779B97F4A7C15)  # odd, so that the high bits depend on all


def fingerprint(log_cqt: NDArray[np.floating]) -> Landmarks:
    """Log CQT in dB, (frames, 96) -> landmarks of its first 50 minutes, (n,), some 60 a second."""
    used = np.ascontiguousarray(log_cqt[: 1 << TIME_BITS, LOWEST : LOWEST + N_USED], np.float32)
    if len(used) < 3:
        return np.zeros(0, np.uint64)
    # A peak between two frames is seen in both. A border around it all is no higher than anything.
    smooth = np.full((len(used) + 2, N_USED + 2), -np.inf, np.float32)
    inner = smooth[1:-1, 1:-1]
    inner[:] = used
    inner[1:-1] += used[:-2]
    inner[1:-1] += used[2:]
    inner[1:-1] /= 3
    peaks = np.empty((used.size, 2), np.int64)
    peaks = peaks[: _peaks(smooth, smooth.max() - np.float32(RANGE_DB), peaks)]
    made = np.empty(len(peaks) * NEXT * (NEXT - 1) // 2, np.int64)
    return made[: _landmarks(peaks, made)].astype(np.uint64)


def prints_of(rows: Sequence[NDArray[np.floating]]) -> list[bytes]:
    """The landmarks of transforms as they are stored."""
    return [fingerprint(row).tobytes() for row in rows]


@jit
def _peaks(values: Floats, floor: float, found: NDArray[np.int64]) -> int:
    """Writes frame and bin of each peak, in this order; returns how many there are.

    `values` have a border of one. Of equal values the first is the peak.
    """
    n_frames, n_bins = values.shape
    is_higher = np.zeros(n_bins, np.bool_)
    n = 0
    for t in range(1, n_frames - 1):
        row, before, after = values[t], values[t - 1], values[t + 1]
        for b in range(1, n_bins - 1):  # many at a time, and few pass
            is_higher[b] = (
                (row[b] > floor)
                & (row[b] > row[b - 1])
                & (row[b] >= row[b + 1])
                & (row[b] > before[b])
                & (row[b] >= after[b])
            )
        for b in range(1, n_bins - 1):
            if is_higher[b] and _is_highest(values, t, b):
                found[n, 0], found[n, 1] = t - 1, b - 1
                n += 1
    return n


@jit
def _is_highest(values: Floats, t: int, b: int) -> bool:
    """Whether a value is the highest around it, and the first of equal ones."""
    n_frames, n_bins = values.shape
    value = values[t, b]
    first, end = max(0, b - BINS_AROUND), min(n_bins, b + BINS_AROUND + 1)
    for c in range(first, end):
        if values[t, c] > value or (c < b and values[t, c] == value):
            return False
    # From the middle on, as most values are exceeded by a neighbour in time.
    for away in range(1, FRAMES_AROUND + 1):
        for c in range(first, end):
            if (t >= away and values[t - away, c] >= value) or (
                t + away < n_frames and values[t + away, c] > value
            ):
                return False
    return True


@jit
def _landmarks(peaks: NDArray[np.int64], made: NDArray[np.int64]) -> int:
    """Writes each peak with each two of the next ones that are near enough; returns how many."""
    n = 0
    for first in range(len(peaks)):
        for second in range(first + 1, min(first + NEXT, len(peaks) - 1)):
            for third in range(second + 1, min(first + NEXT + 1, len(peaks))):
                key, longest = np.int64(0), np.int64(0)
                for k in (first, second, third):
                    key = key << BIN_BITS | peaks[k, 1]
                for k in (second, third):
                    longest = peaks[k, 0] - peaks[first, 0]
                    key = key << SPAN_BITS | longest // SPAN_FRAMES
                if 0 < longest < LONGEST:
                    made[n] = key << TIME_BITS | peaks[first, 0]
                    n += 1
    return n


def twins_in(store: FeatureStore, progress: Progress) -> Twins:
    """Near twins among stored transforms, by all landmarks or by a sample of a tenth or more."""
    hours = sum(store.lengths(store.ids)) * HOP_SAMPLES / SAMPLE_RATE_HZ / 3600
    share = min(1.0, MOST_HOURS / max(hours, 1e-9))
    if len(store) > MOST or share < LEAST_SAMPLE:
        most = f"{MOST:,} tracks and {MOST_HOURS / LEAST_SAMPLE:,.0f} hours"
        what = f"{len(store):,} tracks ({hours:,.0f} hours) are too many to be compared"
        return Twins(note=f"{what}, which is done up to {most}")
    prints = []
    for number, stored in enumerate(store.prints(PRINTS)):
        progress(COMPARING, number, len(store))
        if stored is None:
            own = fingerprint(store.read(store.ids[number]))
        else:
            own = np.frombuffer(stored, np.uint64)
        prints.append(_sampled(own, share))
    found = [(store.ids[a], store.ids[b]) for a, b in similar(prints)]
    progress(COMPARING, len(store), len(store))
    what = f"{hours:,.0f} hours of tracks were compared by {share:.0%} of their landmarks"
    return Twins(
        found, None if share == 1 else f"{what}: excerpts and shifted copies may be missed"
    )


def _sampled(landmarks: Landmarks, share: float) -> Landmarks:
    """A share of the landmarks, the same ones in every track."""
    if share == 1:
        return landmarks
    mixed = (landmarks >> np.uint64(TIME_BITS)) * MIXING >> np.uint64(32)
    return landmarks[mixed < np.uint64(share * (1 << 32))]


def similar(prints: Sequence[Landmarks]) -> list[Pair]:
    """Pairs of the positions of tracks that are one recording: those that hold groups together."""
    in_order = _in_order(prints)
    # Twice, as chance pairs are too many to keep: first how often two tracks have one in common.
    # Some pairs of tracks share a counter, so that a few too many are kept.
    bits = min(MOST_COUNTER_BITS, len(in_order).bit_length() + 2)
    often = np.zeros(1 << bits, np.uint16)
    for places in _equal(in_order):
        np.add.at(often, _counter(places, bits), np.uint16(1))
    kept = [np.zeros(0, np.int64)]
    for places in _equal(in_order):
        kept.append(places[often[_counter(places, bits)] >= LEAST_COUNT])
    places, counts = np.unique(np.concatenate(kept), return_counts=True)
    # A shift that is no whole number of frames is seen as one or the other.
    next_too = np.append(np.diff(places) == 1, False)[: len(places)]
    counts = counts + np.where(next_too, np.roll(counts, -1), 0)
    pairs = places >> SHIFT_BITS
    ends = np.stack([pairs >> TRACK_BITS, pairs & (MOST - 1)], axis=1)
    sizes = np.array([len(own) for own in prints], np.int64)
    least = np.maximum(LEAST_COUNT, LEAST_SHARE * sizes[ends].min(axis=1))
    return Groups(len(prints)).join(np.unique(ends[counts >= least], axis=0))


def _in_order(prints: Sequence[Landmarks]) -> Landmarks:
    """Key, track and frame of all landmarks in one number each, sorted."""
    if len(prints) > MOST:
        raise ValueError(f"{len(prints):,} tracks; at most {MOST:,}")
    packed = np.concatenate(
        [
            own >> np.uint64(TIME_BITS) << np.uint64(TRACK_BITS + TIME_BITS)
            | np.uint64(track << TIME_BITS)
            | own & np.uint64(LATEST)
            for track, own in enumerate(prints)
        ]
        or [np.zeros(0, np.uint64)]
    )
    packed.sort()
    return packed


def _equal(in_order: Landmarks) -> Iterator[NDArray[np.int64]]:
    """For equal landmarks their two tracks and the shift between them, as one number each."""
    place = np.uint64(TRACK_BITS + TIME_BITS)
    for start in range(0, len(in_order), AT_ONCE):
        here = in_order[start : start + AT_ONCE + NEIGHBOURS]
        keys = here >> place
        first = np.flatnonzero(keys[1:] == keys[:-1])
        first = first[first < AT_ONCE]
        for away in range(1, NEIGHBOURS + 1):
            first = first[first + away < len(here)]
            first = first[keys[first] == keys[first + away]]
            if not len(first):
                break
            one, other = (here[k].astype(np.int64) for k in (first, first + away))
            # Sorted by track: the first is the smaller number.
            a, b = ((x >> TIME_BITS) & (MOST - 1) for x in (one, other))
            shift = (other & LATEST) - (one & LATEST) + LATEST
            yield ((a << TRACK_BITS | b) << SHIFT_BITS | shift)[a != b]


def _counter(places: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """The number of the counter of two tracks, below 2 ** bits."""
    pairs = (places >> SHIFT_BITS).astype(np.uint64)
    return (pairs * MIXING >> np.uint64(64 - bits)).astype(np.int64)
