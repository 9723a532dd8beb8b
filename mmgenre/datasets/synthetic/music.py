"""A piece of music of a given style, from random numbers: compose, play, mix."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import cycle, islice, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from mmgenre.datasets.synthetic.bands import STYLES, Style

FloatArray = npt.NDArray[np.float32]

SAMPLE_RATE_HZ = 22_050  # of mono tracks; stereo ones have twice that
TABLE_SIZE = 8192
BEATS_PER_BAR = 4
FURTHER_LEVEL = 0.4  # of a further label's chords and lead, next to the main label's
STEREO_PAN = (0.0, 0.0, -0.35, 0.3)  # drums, bass, chords, lead; -1 is left


def render_track(
    styles: Sequence[str], rng: Generator, duration_s: float, *, stereo: bool
) -> FloatArray:
    """A track in the first style with traits of the others, (samples, channels)."""
    n_samples = int(duration_s * SAMPLE_RATE_HZ)
    main = STYLES[styles[0]]
    bpm = rng.uniform(*main.bpm)
    key = int(rng.integers(-4, 5))
    stems = _play(main, rng, n_samples, bpm, key)
    for name in styles[1:]:
        stems[2:] += FURTHER_LEVEL * _play(STYLES[name], rng, n_samples, bpm, key)[2:]
    stems *= 10 ** (rng.uniform(-3, 3, size=(4, 1)).astype(np.float32) / 20)
    if main.reverb:
        # A dry kick and bass keep the beat clear; the tail is in the middle.
        stems[0] += _tail(stems[2] + stems[3], main.reverb, rng)
    mix = stems.sum(axis=0, keepdims=True)
    if stereo:
        from scipy.signal import resample_poly  # half a second

        pan = np.array([[1.0], [-1.0]]) * np.array(STEREO_PAN)
        mix = resample_poly((1 - pan).astype(np.float32) @ stems, 2, 1, axis=1)
    gain = rng.uniform(0.25, 0.95) / float(np.abs(mix).max())
    return np.ascontiguousarray((mix * gain).T, dtype=np.float32)


class Song(NamedTuple):
    """The harmony and the time of a track, to which every instrument plays."""

    style: Style
    bar_s: float
    roots: list[int]  # a scale degree for each bar
    key: int  # semitones
    rng: Generator

    def hits(self, pattern: str) -> Iterator[tuple[int, int, int, str, int, int]]:
        """(bar, its root, number in the bar, symbol, first sample, samples until the next hit)."""
        step_s = self.bar_s / len(pattern)
        steps = [i for i, symbol in enumerate(pattern) if symbol != "."]
        for bar, root in enumerate(self.roots):
            for i, (step, end) in enumerate(pairwise([*steps, len(pattern)])):
                delay_s = self.style.swing * self.bar_s / 8 if step % 4 == 2 else 0.0
                first = round((bar * self.bar_s + step * step_s + delay_s) * SAMPLE_RATE_HZ)
                n_samples = round((end - step) * step_s * SAMPLE_RATE_HZ)
                yield bar, root, i, pattern[step], first, n_samples

    def play_drums(self, stem: FloatArray) -> None:
        for name, pattern in self.style.drums.items():
            sound = strike(DRUMS[f"{self.style.kit} {name}"], self.rng)
            for *_, symbol, first, _ in self.hits(pattern):
                loud = 1.0 if symbol == "x" else 0.4
                _add(stem, first, sound, loud * self.rng.uniform(0.8, 1.0))

    def play_bass(self, stem: FloatArray) -> None:
        instrument, pattern, centre = self.style.bass
        steps = {"r": 0, "3": 2, "5": 4, "8": 7}
        for _, root, _, symbol, first, n_samples in self.hits(pattern):
            degree = root + (int(self.rng.integers(0, 7)) if symbol == "w" else steps[symbol])
            octaves = max(degree // len(self.style.scale), 1) if symbol == "8" else 0
            midi = self.midi(degree, centre) + 12 * octaves
            _add(stem, first, tone(instrument, midi, n_samples))

    def play_chords(self, stem: FloatArray) -> None:
        instrument, pattern, centre = self.style.chords
        for _, root, _, symbol, first, n_samples in self.hits(pattern):
            # Power chords keep their shape; the others stay in their register by inversion.
            base = self.midi(root, centre)
            notes = [base + self.interval(root, step) for step in self.style.chord_degrees]
            for midi in [notes[int(symbol) % len(notes)]] if symbol.isdigit() else notes:
                _add(stem, first, tone(instrument, midi, n_samples), 0.5 if symbol == "o" else 1.0)

    def play_lead(self, stem: FloatArray) -> None:
        """A motif of two bars that follows the harmony, with occasional variations."""
        instrument, pattern, centre = self.style.lead
        motif: dict[tuple[int, int], int] = {}
        step = 0
        for bar, root, i, symbol, first, n_samples in self.hits(pattern):
            if symbol == "o" and self.rng.random() < 0.5:
                continue
            step = int(np.clip(step + self.rng.choice([-2, -1, -1, 0, 1, 1, 2]), -5, 5))
            if i == 0:
                step = int(self.rng.choice([-3, 0, 2, 4]))  # a chord note on the first beat
            if self.rng.random() < 0.8:
                step = motif.setdefault((bar % 2, i), step)
            midi = self.midi(root, centre) + self.interval(root, step)
            _add(stem, first, tone(instrument, midi, n_samples))

    def midi(self, degree: int, centre: int) -> int:
        """The note of a scale degree in the octave around `centre`."""
        return centre + (self.key + self.interval(0, degree) - centre + 6) % 12 - 6

    def interval(self, root: int, steps: int) -> int:
        """Semitones from a scale degree to the one `steps` above it."""
        scale = self.style.scale
        low, high = (12 * (d // len(scale)) + scale[d % len(scale)] for d in (root, root + steps))
        return high - low


def _add(stem: FloatArray, first: int, sound: FloatArray, level: float = 1.0) -> None:
    n = min(len(sound), len(stem) - first)
    if n > 0:
        stem[first : first + n] += level * sound[:n]


def _play(style: Style, rng: Generator, n_samples: int, bpm: float, key: int) -> FloatArray:
    """The stems (drums, bass, chords, lead), (4, n_samples), each at unit power times level."""
    bar_s = BEATS_PER_BAR * 60 / bpm
    n_bars = int(np.ceil(n_samples / SAMPLE_RATE_HZ / bar_s))
    progression = style.progressions[int(rng.integers(len(style.progressions)))]
    song = Song(style, bar_s, [*islice(cycle(progression), n_bars)], key, rng)
    stems = np.zeros((4, n_samples), dtype=np.float32)
    song.play_drums(stems[0])
    song.play_bass(stems[1])
    song.play_chords(stems[2])
    song.play_lead(stems[3])
    # Unit power first: a style's levels then mean the same for a plucked and for a held note.
    power = np.sqrt(np.mean(stems**2, axis=1, keepdims=True))
    stems /= np.maximum(power, 1e-6)
    if style.drive:
        stems[2] = np.tanh(style.drive * stems[2])
    return stems * np.array(style.levels, dtype=np.float32)[:, None]


def _tail(dry: FloatArray, level: float, rng: Generator) -> FloatArray:
    """The reverberation of a room: the sound convolved with decaying noise, (n_samples,)."""
    t_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(len(t_s)) * np.exp(-t_s / 0.25)
    # Unit energy: the tail of steady sound is then `level` times as strong as the sound.
    tail *= level / np.sqrt(np.sum(tail**2))
    from scipy.fft import irfft, next_fast_len, rfft

    n = next_fast_len(len(dry) + len(tail), real=True)
    spectrum = rfft(dry, n) * rfft(tail.astype(np.float32), n)
    return irfft(spectrum, n)[: len(dry)].astype(np.float32)


class Instrument(NamedTuple):
    """One timbre: a harmonic series, its decay, and its vibrato."""

    rolloff: float  # harmonic k has amplitude k ** -rolloff
    n_harmonics: int = 40
    odd_only: bool = False
    attack_s: float = 0.01
    decay_s: float = 8.0  # time in which the loudness falls to 1/e
    mellowing_s: float | None = None  # time in which the overtones fall to 1/e; None: they stay
    vibrato_cents: float = 0.0
    detune_cents: float = 0.0  # of a second, equally loud voice; 0: one voice only


INSTRUMENTS: Mapping[str, Instrument] = {
    "bass guitar": Instrument(1.3, 14, decay_s=0.7, mellowing_s=0.25),
    "upright bass": Instrument(2.2, 6, decay_s=0.35, mellowing_s=0.1, attack_s=0.015),
    "saw bass": Instrument(1.0, 30, decay_s=0.5, mellowing_s=0.12, detune_cents=9),
    "sub bass": Instrument(3.0, 3, decay_s=4.0, attack_s=0.02),
    "clean guitar": Instrument(1.2, 20, decay_s=0.6, mellowing_s=0.2),
    "electric guitar": Instrument(0.9, 30, decay_s=1.5, detune_cents=4),
    "steel guitar": Instrument(0.9, 24, decay_s=0.45, mellowing_s=0.18),
    "nylon guitar": Instrument(1.9, 10, decay_s=0.4, mellowing_s=0.12),
    "banjo": Instrument(0.6, 24, decay_s=0.14, mellowing_s=0.08, attack_s=0.003),
    "organ": Instrument(1.0, 8, attack_s=0.03, detune_cents=6),
    "piano": Instrument(1.4, 16, decay_s=0.5, mellowing_s=0.15, attack_s=0.004),
    "stab": Instrument(0.8, 30, decay_s=0.16, detune_cents=14, attack_s=0.004),
    "pad": Instrument(1.6, 12, attack_s=0.6, detune_cents=12),
    "bell": Instrument(1.0, 5, odd_only=True, decay_s=0.7, mellowing_s=0.3),
    "blip": Instrument(0.7, 20, odd_only=True, decay_s=0.09, attack_s=0.002),
    "brass": Instrument(0.7, 18, attack_s=0.05, vibrato_cents=12),
    "fiddle": Instrument(0.9, 24, attack_s=0.06, vibrato_cents=25),
    "slide": Instrument(1.3, 14, attack_s=0.08, vibrato_cents=45),
    "voice": Instrument(1.5, 12, attack_s=0.07, vibrato_cents=60),
    "lead guitar": Instrument(0.8, 30, decay_s=2.0, vibrato_cents=25, detune_cents=5),
}


@lru_cache(maxsize=1024)
def _table(instrument: Instrument, n_harmonics: int) -> FloatArray:
    """One period with unit power, (TABLE_SIZE,)."""
    k = np.arange(1, n_harmonics + 1)
    amplitude = k**-instrument.rolloff * ((k % 2 == 1) | (not instrument.odd_only))
    spectrum = np.zeros(TABLE_SIZE // 2 + 1, dtype=complex)
    # Fixed scattered phases: harmonics that all start together would make a spike of each period.
    spectrum[1 : n_harmonics + 1] = amplitude * np.exp(2j * np.pi * 0.618 * k * k)
    period: npt.NDArray[np.float64] = np.fft.irfft(spectrum)
    return (period / float(np.sqrt(np.mean(period**2)))).astype(np.float32)


def _place(periods: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The index in the table of each sample; the table's size is a power of two."""
    return (periods * TABLE_SIZE).astype(np.int64) & (TABLE_SIZE - 1)


@lru_cache(maxsize=256)  # a track repeats its notes; another track has another tempo
def tone(name: str, midi: int, n_samples: int) -> FloatArray:
    """One note, (n_samples,), read-only, at about unit power before it fades; no aliasing."""
    instrument = INSTRUMENTS[name]
    f0_hz = 440.0 * 2.0 ** ((midi - 69) / 12)
    t_s = np.arange(n_samples, dtype=np.float32) / SAMPLE_RATE_HZ
    periods = np.arange(n_samples) * (f0_hz / SAMPLE_RATE_HZ)
    if instrument.vibrato_cents:
        rate_hz = 5.5
        deviation = 2.0 ** (instrument.vibrato_cents / 1200) - 1
        periods -= deviation * f0_hz / (2 * np.pi * rate_hz) * np.cos(2 * np.pi * rate_hz * t_s)
    n_harmonics = max(1, min(instrument.n_harmonics, int(0.48 * SAMPLE_RATE_HZ / f0_hz)))
    bright = _table(instrument, n_harmonics)
    wave = bright[_place(periods)]
    if instrument.detune_cents:
        wave = (wave + bright[_place(periods * 2.0 ** (instrument.detune_cents / 1200))]) * 0.7
    if instrument.mellowing_s is not None:
        mellow = _table(instrument, min(n_harmonics, 2))[_place(periods)] * 0.7
        wave = mellow + (wave - mellow) * np.exp(t_s * (-1 / instrument.mellowing_s))
    attack = np.minimum(t_s / instrument.attack_s, 1)
    release = np.minimum((n_samples / SAMPLE_RATE_HZ - t_s) / 0.03, 1)
    wave *= attack * release * np.exp(t_s * (-1 / instrument.decay_s))
    wave.flags.writeable = False
    return wave


class Drum(NamedTuple):
    """A struck sound: a gliding tone and a burst of noise."""

    length_s: float
    f_start_hz: float = 0.0
    f_end_hz: float = 0.0
    tone_decay_s: float = 0.1
    tone_level: float = 0.0
    noise_level: float = 0.0
    noise_decay_s: float = 0.1
    n_differences: int = 0  # each one raises the noise's slope by 6 dB per octave


# By kit and name.
DRUMS: Mapping[str, Drum] = {
    "acoustic kick": Drum(0.25, 140, 55, 0.09, 1.0, 0.15, 0.01),
    "acoustic snare": Drum(0.3, 230, 180, 0.08, 0.5, 0.6, 0.11),
    "acoustic hat": Drum(0.12, noise_level=0.35, noise_decay_s=0.035, n_differences=2),
    "machine kick": Drum(0.4, 190, 42, 0.2, 1.4, 0.1, 0.005),
    "machine snare": Drum(0.25, 330, 200, 0.03, 0.2, 0.8, 0.09, 1),
    "machine hat": Drum(0.15, noise_level=0.5, noise_decay_s=0.05, n_differences=2),
    "metal kick": Drum(0.12, 110, 60, 0.05, 1.0, 0.6, 0.006),
    "metal snare": Drum(0.25, 280, 210, 0.07, 0.7, 0.9, 0.12),
    "metal hat": Drum(0.6, noise_level=0.45, noise_decay_s=0.3, n_differences=1),
    "brush kick": Drum(0.2, 90, 60, 0.07, 0.4),
    "brush snare": Drum(0.25, noise_level=0.3, noise_decay_s=0.12, n_differences=1),
    "brush hat": Drum(0.5, noise_level=0.3, noise_decay_s=0.2, n_differences=2),
    "hand kick": Drum(0.25, 210, 190, 0.12, 0.8),
    "hand snare": Drum(0.1, 2500, 2500, 0.03, 0.7),
    "hand hat": Drum(0.1, noise_level=0.4, noise_decay_s=0.03, n_differences=2),
    "hand conga": Drum(0.25, 330, 300, 0.1, 0.7, 0.1, 0.01),
}


def strike(drum: Drum, rng: Generator) -> FloatArray:
    """One stroke, (length_s * SAMPLE_RATE_HZ,)."""
    t_s = np.arange(int(drum.length_s * SAMPLE_RATE_HZ), dtype=np.float32) / SAMPLE_RATE_HZ
    glide_s, fall_hz = 0.03, drum.f_start_hz - drum.f_end_hz
    phase = drum.f_end_hz * t_s + fall_hz * glide_s * (1 - np.exp(-t_s / glide_s))
    noise = rng.standard_normal(len(t_s) + drum.n_differences).astype(np.float32)
    noise = np.diff(noise, drum.n_differences) / 1.5**drum.n_differences
    sound = drum.tone_level * np.sin(2 * np.pi * phase) * np.exp(-t_s / drum.tone_decay_s)
    sound += drum.noise_level * noise * np.exp(-t_s / drum.noise_decay_s)
    faded: FloatArray = (sound * np.minimum((drum.length_s - t_s) / 0.01, 1)).astype(np.float32)
    return faded
