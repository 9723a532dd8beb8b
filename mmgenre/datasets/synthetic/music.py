"""A piece of music of a given style, from random numbers: compose, play, mix."""

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.fft
import scipy.signal

from mmgenre.datasets.synthetic.bands import STYLES, Style
from mmgenre.datasets.synthetic.instruments import (
    KITS,
    SAMPLE_RATE_HZ,
    FloatArray,
    strike,
    tone,
)

BEATS_PER_BAR = 4
FURTHER_LEVEL = 0.4  # of a further label's chords and lead, next to the main label's
STEREO_PAN = (0.0, 0.0, -0.35, 0.3)  # drums, bass, chords, lead; -1 is left


def render_track(
    styles: Sequence[str], rng: np.random.Generator, duration_s: float, *, stereo: bool
) -> FloatArray:
    """A track in the first style with traits of the others, (samples, channels).

    Mono tracks are at `SAMPLE_RATE_HZ`, stereo ones at twice that.
    """
    n_samples = int(duration_s * SAMPLE_RATE_HZ)
    main = STYLES[styles[0]]
    bpm = rng.uniform(*main.bpm)
    key = int(rng.integers(-4, 5))
    stems = _play(main, rng, n_samples, bpm, key)
    for name in styles[1:]:
        guest = _play(STYLES[name], rng, n_samples, bpm, key)
        stems[2] += FURTHER_LEVEL * guest[2]
        stems[3] += FURTHER_LEVEL * guest[3]
    stems *= 10 ** (rng.uniform(-3, 3, size=(4, 1)).astype(np.float32) / 20)
    if main.reverb:
        # A dry kick and bass keep the beat clear; the room itself is heard in the middle.
        stems[0] += _tail(stems[2] + stems[3], main.reverb, rng)
    mix = stems.sum(axis=0, keepdims=True)
    if stereo:
        pan = np.array([[1.0], [-1.0]]) * np.array(STEREO_PAN)
        mix = scipy.signal.resample_poly((1 - pan).astype(np.float32) @ stems, 2, 1, axis=1)
    peak = float(np.abs(mix).max())
    level = rng.uniform(0.25, 0.95)
    return np.ascontiguousarray((mix * (level / peak)).T, dtype=np.float32)


def _play(
    style: Style, rng: np.random.Generator, n_samples: int, bpm: float, key: int
) -> FloatArray:
    """The four stems (drums, bass, chords, lead), (4, n_samples), each at unit power times level.

    Unit power first: a style's levels then mean the same for a plucked and for a held note.
    """
    bar_s = BEATS_PER_BAR * 60 / bpm
    n_bars = int(np.ceil(n_samples / SAMPLE_RATE_HZ / bar_s))
    progression = style.progressions[int(rng.integers(len(style.progressions)))]
    roots = [progression[bar % len(progression)] for bar in range(n_bars)]
    stems = np.zeros((4, n_samples), dtype=np.float32)
    _play_drums(stems[0], style, rng, bar_s, n_bars)
    _play_bass(stems[1], style, rng, bar_s, roots, key)
    _play_chords(stems[2], style, bar_s, roots, key)
    _play_lead(stems[3], style, rng, bar_s, roots, key)
    power = np.sqrt(np.mean(stems**2, axis=1, keepdims=True))
    stems /= np.maximum(power, 1e-6)
    if style.drive:
        stems[2] = np.tanh(style.drive * stems[2])
    return stems * np.array(style.levels, dtype=np.float32)[:, None]


def _hits(pattern: str, bar: int, bar_s: float, swing: float) -> Iterator[tuple[int, int, str]]:
    """What a bar of the pattern strikes: (first sample, samples until the next one, symbol)."""
    step_s = bar_s / len(pattern)
    places = [i for i, symbol in enumerate(pattern) if symbol != "."]
    ends = [*places[1:], len(pattern)]
    for place, end in zip(places, ends, strict=True):
        delay_s = swing * bar_s / 8 if place % 4 == 2 else 0.0
        first = round((bar * bar_s + place * step_s + delay_s) * SAMPLE_RATE_HZ)
        yield first, round((end - place) * step_s * SAMPLE_RATE_HZ), pattern[place]


def _add(stem: FloatArray, first: int, sound: FloatArray, level: float) -> None:
    n = min(len(sound), len(stem) - first)
    if n > 0:
        stem[first : first + n] += level * sound[:n]


def _play_drums(
    stem: FloatArray, style: Style, rng: np.random.Generator, bar_s: float, n_bars: int
) -> None:
    if style.kit is None:
        return
    for name, pattern in style.drums.items():
        sound = strike(KITS[style.kit][name], rng)
        for bar in range(n_bars):
            for first, _, symbol in _hits(pattern, bar, bar_s, style.swing):
                loud = 1.0 if symbol == "x" else 0.4
                _add(stem, first, sound, loud * rng.uniform(0.8, 1.0))


def _play_bass(
    stem: FloatArray,
    style: Style,
    rng: np.random.Generator,
    bar_s: float,
    roots: Sequence[int],
    key: int,
) -> None:
    instrument, pattern, centre = style.bass
    steps = {"r": 0, "3": 2, "5": 4, "8": 7}
    for bar, root in enumerate(roots):
        for first, n_samples, symbol in _hits(pattern, bar, bar_s, style.swing):
            step = int(rng.integers(0, 7)) if symbol == "w" else steps[symbol]
            midi = _midi(style.scale, root + step, key, centre, wraps=symbol != "8")
            _add(stem, first, tone(instrument, midi, n_samples), 1.0)


def _play_chords(
    stem: FloatArray, style: Style, bar_s: float, roots: Sequence[int], key: int
) -> None:
    instrument, pattern, centre = style.chords
    for bar, root in enumerate(roots):
        # Power chords keep their shape; the others stay in their register by inversion.
        base = _midi(style.scale, root, key, centre)
        notes = [base + _interval(style.scale, root, step) for step in style.chord_degrees]
        for first, n_samples, symbol in _hits(pattern, bar, bar_s, style.swing):
            chosen = [notes[int(symbol) % len(notes)]] if symbol.isdigit() else notes
            for midi in chosen:
                _add(stem, first, tone(instrument, midi, n_samples), 0.5 if symbol == "o" else 1.0)


def _play_lead(
    stem: FloatArray,
    style: Style,
    rng: np.random.Generator,
    bar_s: float,
    roots: Sequence[int],
    key: int,
) -> None:
    """A two-bar motif, moved with the harmony and varied now and then."""
    instrument, pattern, centre = style.lead
    motif: dict[tuple[int, int], int] = {}
    step = 0
    for bar, root in enumerate(roots):
        for i, (first, n_samples, symbol) in enumerate(_hits(pattern, bar, bar_s, style.swing)):
            if symbol == "o" and rng.random() < 0.5:
                continue
            step = int(np.clip(step + rng.choice([-2, -1, -1, 0, 1, 1, 2]), -5, 5))
            if i == 0:
                step = int(rng.choice([-3, 0, 2, 4]))  # a chord note on the first beat
            if rng.random() < 0.8:
                step = motif.setdefault((bar % 2, i), step)
            midi = _midi(style.scale, root, key, centre) + _interval(style.scale, root, step)
            _add(stem, first, tone(instrument, midi, n_samples), 1.0)


def _midi(scale: Sequence[int], degree: int, key: int, centre: int, *, wraps: bool = True) -> int:
    """The note of a scale degree, in the octave around `centre` (or an octave above that)."""
    octave, step = divmod(degree, len(scale))
    pitch_class = key + scale[step]
    midi = centre + (pitch_class - centre + 6) % 12 - 6
    return midi if wraps else midi + 12 * max(octave, 1)


def _interval(scale: Sequence[int], root: int, steps: int) -> int:
    """Semitones from a scale degree to the one `steps` above it."""
    octave, step = divmod(root + steps, len(scale))
    return 12 * octave + scale[step] - (12 * (root // len(scale)) + scale[root % len(scale)])


def _tail(dry: FloatArray, level: float, rng: np.random.Generator) -> FloatArray:
    """What a room adds: the sound convolved with decaying noise, (n_samples,)."""
    t_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(len(t_s)) * np.exp(-t_s / 0.25)
    # Unit energy: the tail of steady sound is then `level` times as strong as the sound.
    tail *= level / np.sqrt(np.sum(tail**2))
    n = scipy.fft.next_fast_len(len(dry) + len(tail), real=True)
    spectrum = scipy.fft.rfft(dry, n) * scipy.fft.rfft(tail.astype(np.float32), n)
    return scipy.fft.irfft(spectrum, n)[: len(dry)].astype(np.float32)
