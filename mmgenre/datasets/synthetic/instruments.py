"""Instruments and drums as plain functions: a pitch and a length in, mono samples out."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

SAMPLE_RATE_HZ = 22_050
TABLE_SIZE = 8192


class Instrument(NamedTuple):
    """One timbre: a harmonic series, how it fades, and how it wavers."""

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
    power = float(np.sqrt(np.mean(period**2)))
    return (period / power).astype(np.float32)


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
    place = _place(periods)
    wave = bright[place]
    if instrument.detune_cents:
        wave = (wave + bright[_place(periods * 2.0 ** (instrument.detune_cents / 1200))]) * 0.7
    if instrument.mellowing_s is not None:
        mellow = _table(instrument, min(n_harmonics, 2))[place] * 0.7
        wave = mellow + (wave - mellow) * np.exp(t_s * (-1 / instrument.mellowing_s))
    attack = np.minimum(t_s / instrument.attack_s, 1)
    release = np.minimum((n_samples / SAMPLE_RATE_HZ - t_s) / 0.03, 1)
    wave *= attack * release * np.exp(t_s * (-1 / instrument.decay_s))
    wave.flags.writeable = False
    return wave


def _place(periods: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Where in the table each sample lies; the table's size is a power of two."""
    return (periods * TABLE_SIZE).astype(np.int64) & (TABLE_SIZE - 1)


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


KITS: Mapping[str, Mapping[str, Drum]] = {
    "acoustic": {
        "kick": Drum(0.25, 140, 55, 0.09, 1.0, 0.15, 0.01),
        "snare": Drum(0.3, 230, 180, 0.08, 0.5, 0.6, 0.11),
        "hat": Drum(0.12, noise_level=0.35, noise_decay_s=0.035, n_differences=2),
    },
    "machine": {
        "kick": Drum(0.4, 190, 42, 0.2, 1.4, 0.1, 0.005),
        "snare": Drum(0.25, 330, 200, 0.03, 0.2, 0.8, 0.09, 1),
        "hat": Drum(0.15, noise_level=0.5, noise_decay_s=0.05, n_differences=2),
    },
    "metal": {
        "kick": Drum(0.12, 110, 60, 0.05, 1.0, 0.6, 0.006),
        "snare": Drum(0.25, 280, 210, 0.07, 0.7, 0.9, 0.12),
        "hat": Drum(0.6, noise_level=0.45, noise_decay_s=0.3, n_differences=1),
    },
    "brush": {
        "kick": Drum(0.2, 90, 60, 0.07, 0.4),
        "snare": Drum(0.25, noise_level=0.3, noise_decay_s=0.12, n_differences=1),
        "hat": Drum(0.5, noise_level=0.3, noise_decay_s=0.2, n_differences=2),
    },
    "hand": {
        "kick": Drum(0.25, 210, 190, 0.12, 0.8),
        "snare": Drum(0.1, 2500, 2500, 0.03, 0.7),
        "hat": Drum(0.1, noise_level=0.4, noise_decay_s=0.03, n_differences=2),
        "conga": Drum(0.25, 330, 300, 0.1, 0.7, 0.1, 0.01),
    },
}


def strike(drum: Drum, rng: np.random.Generator) -> FloatArray:
    """One stroke, (length_s * SAMPLE_RATE_HZ,)."""
    t_s = np.arange(int(drum.length_s * SAMPLE_RATE_HZ), dtype=np.float32) / SAMPLE_RATE_HZ
    glide_s = 0.03
    phase = drum.f_end_hz * t_s + (drum.f_start_hz - drum.f_end_hz) * glide_s * (
        1 - np.exp(-t_s / glide_s)
    )
    noise = rng.standard_normal(len(t_s) + drum.n_differences).astype(np.float32)
    noise = np.diff(noise, drum.n_differences) / 1.5**drum.n_differences
    sound = drum.tone_level * np.sin(2 * np.pi * phase) * np.exp(-t_s / drum.tone_decay_s)
    sound += drum.noise_level * noise * np.exp(-t_s / drum.noise_decay_s)
    faded: FloatArray = (sound * np.minimum((drum.length_s - t_s) / 0.01, 1)).astype(np.float32)
    return faded
