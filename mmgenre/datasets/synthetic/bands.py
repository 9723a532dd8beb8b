"""How each audio style is played: a literal table of tempo, patterns, instruments and balance.

A pattern is one bar of equal steps (16 unless it is written longer or shorter). Drums: `x` loud,
`o` soft. Bass: `r` root, `3` third, `5` fifth, `8` octave, `w` walking. Chords: `x` the whole
chord, `o` the same softly, a digit that note of it. Lead: `x` a note, `o` a note half of the time.
A note lasts until the next one begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)
DORIAN = (0, 2, 3, 5, 7, 9, 10)
PHRYGIAN = (0, 1, 3, 5, 7, 8, 10)


@dataclass(frozen=True)
class Style:
    """How a band of one style plays; the tempo is drawn from `bpm`, the key from all keys."""

    bpm: tuple[int, int]
    scale: tuple[int, ...]  # semitones above the key
    progressions: tuple[tuple[int, ...], ...]  # a scale degree per bar, from 0
    drums: Mapping[str, str]  # drum -> pattern
    bass: tuple[str, str, int]  # instrument, pattern, MIDI note around which it lies
    chords: tuple[str, str, int]
    lead: tuple[str, str, int]
    kit: str = "acoustic"
    chord_degrees: tuple[int, ...] = (0, 2, 4)  # scale steps above the root
    levels: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)  # drums, bass, chords, lead
    swing: float = 0.0  # delay of every second eighth, in eighths
    drive: float = 0.0  # of the chords' tanh distortion; 0: clean
    reverb: float = 0.0  # level of the tail; 0: dry


BAND = Style(
    bpm=(100, 120),
    scale=MAJOR,
    progressions=((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3)),
    drums={"kick": "x.......x.x.....", "snare": "....x.......x...", "hat": "x.o.x.o.x.o.x.o."},
    bass=("bass guitar", "r.r.r.r.r.r.r.r.", 38),
    chords=("electric guitar", "x...x.x...x.x...", 55),
    lead=("lead guitar", "x...o.x.x...x.o.", 74),
    levels=(1.0, 0.9, 0.6, 0.5),
    drive=1.5,
)
HEAVY = Style(
    bpm=(120, 140),
    scale=PHRYGIAN,
    progressions=((0, 0, 1, 0), (0, 5, 0, 1), (0, 0, 3, 1)),
    kit="metal",
    drums={"kick": "xxxxxxxxxxxxxxxx", "snare": "....x.......x...", "hat": "x...x...x...x..."},
    bass=("saw bass", "rrrrrrrrrrrrrrrr", 30),
    chords=("electric guitar", "x.xxx.xxx.xxx.xx", 42),
    lead=("lead guitar", "o...o...o...o...", 70),
    chord_degrees=(0, 4, 7),
    levels=(1.0, 0.8, 1.1, 0.25),
    drive=14.0,
)
CLUB = Style(
    bpm=(120, 126),
    scale=MINOR,
    progressions=((0, 0, 5, 6), (0, 0, 0, 0), (0, 3, 0, 3)),
    kit="machine",
    drums={"kick": "x...x...x...x...", "snare": "....x.......x...", "hat": "..x...x...x...x."},
    bass=("saw bass", "..r...r...r.r.8.", 33),
    chords=("stab", "..x..x....x..x..", 62),
    lead=("blip", "o.......o.......", 81),
    chord_degrees=(0, 2, 4, 6),
    levels=(1.4, 0.9, 0.5, 0.2),
    reverb=0.15,
)
COMBO = Style(
    bpm=(150, 180),
    scale=DORIAN,
    progressions=((1, 4, 0, 0), (0, 5, 1, 4), (1, 4, 2, 5)),
    kit="brush",
    drums={"hat": "x...x.ox...x.o..", "kick": "x.......x......."},
    bass=("upright bass", "w...w...w...w...", 38),
    chords=("piano", "......x.......x.", 60),
    lead=("brass", "x.x...x.o.x.x...", 69),
    chord_degrees=(0, 2, 4, 6, 8),
    levels=(0.7, 1.2, 0.4, 0.7),
    reverb=0.1,
)
ACOUSTIC = Style(
    bpm=(76, 92),
    scale=MAJOR,
    progressions=((0, 3, 0, 4), (0, 0, 3, 4), (0, 4, 3, 0)),
    drums={},
    bass=("upright bass", "r...5...r...5...", 40),
    chords=("steel guitar", "0.2.1.2.0.2.1.2.", 60),
    lead=("voice", "x...o.x.x.......", 67),
    chord_degrees=(0, 2, 4, 7),
    levels=(0.6, 0.6, 0.9, 0.6),
    reverb=0.08,
)

STYLES: Mapping[str, Style] = {
    "band.jangle": replace(BAND, chords=("clean guitar", "0.1.2.1.0.1.2.1.", 62), drive=0.0),
    "band.drive": replace(BAND, drive=5.0, levels=(1.0, 0.9, 0.8, 0.6)),
    "band.fast": replace(
        BAND,
        bpm=(150, 176),
        drums={"kick": "x...x...x...x...", "snare": "..x...x...x...x.", "hat": "xoxoxoxoxoxoxoxo"},
        chords=("electric guitar", "x.x.x.x.x.x.x.x.", 57),
    ),
    "band.slow": replace(
        BAND,
        bpm=(64, 80),
        chords=("organ", "x...............", 58),
        drive=0.0,
        lead=("voice", "x...x...o...x...", 72),
        reverb=0.2,
    ),
    "heavy.fast": replace(HEAVY, bpm=(165, 190)),
    "heavy.slow": replace(
        HEAVY,
        bpm=(56, 68),
        drums={"kick": "x.......x.......", "snare": "....x.......x...", "hat": "x.......x......."},
        bass=("saw bass", "r.......r.......", 28),
        chords=("electric guitar", "x.......x.....x.", 40),
    ),
    "heavy.blast": replace(
        HEAVY,
        bpm=(190, 215),
        drums={"kick": "x.x.x.x.x.x.x.x.", "snare": ".x.x.x.x.x.x.x.x", "hat": "x.x.x.x.x.x.x.x."},
        chords=("electric guitar", "xxxxxxxxxxxxxxxx", 52),
        reverb=0.25,
    ),
    "club.house": CLUB,
    "club.techno": replace(
        CLUB,
        bpm=(130, 140),
        drums={"kick": "x...x...x...x...", "hat": "xoxoxoxoxoxoxoxo"},
        bass=("saw bass", ".rrr.rrr.rrr.rrr", 31),
        chords=("stab", "x...............", 55),
        lead=("blip", "x.ox.oxox.ox.oxo", 76),
        levels=(1.4, 0.8, 0.2, 0.5),
    ),
    "club.ambient": replace(
        CLUB,
        bpm=(60, 76),
        drums={},
        bass=("sub bass", "r...............", 33),
        chords=("pad", "x...............", 60),
        lead=("bell", "o.....o.....o...", 84),
        levels=(0.0, 0.7, 1.0, 0.5),
        reverb=0.6,
    ),
    "club.breaks": replace(
        CLUB,
        bpm=(168, 178),
        drums={"kick": "x.........x.....", "snare": "....x..o.o..x...", "hat": "x.x.xox.x.x.xox."},
        bass=("sub bass", "r.....r...8.....", 30),
        chords=("pad", "x...............", 62),
    ),
    "combo.swing": replace(COMBO, swing=0.33),
    "combo.soft": replace(
        COMBO,
        bpm=(66, 80),
        drums={"hat": "oooooooooooooooo", "kick": "x..xx..xx..xx..x"},
        bass=("upright bass", "r.....5.5.....r.", 38),
        chords=("nylon guitar", "x..x..x...x..x..", 60),
        lead=("voice", "x...x.o...x.....", 69),
    ),
    "combo.clave": replace(
        COMBO,
        bpm=(96, 108),
        kit="hand",
        drums={
            "snare": "x..x..x...x.x...",
            "conga": "..o...xx..o...xx",
            "kick": "......x.......x.",
            "hat": "x.oox.oox.oox.oo",
        },
        bass=("upright bass", "......5.....r...", 38),
        chords=("piano", "0.1.2..1.2.1.2.3", 66),
        levels=(0.8, 1.2, 0.7, 0.7),
    ),
    "acoustic.ballad": replace(ACOUSTIC, bass=("upright bass", "r.......5.......", 40)),
    "acoustic.picking": replace(
        ACOUSTIC,
        bpm=(104, 124),
        chords=("banjo", "0213021302130213", 66),
        lead=("fiddle", "x.xxx.x.x.xxx.x.", 76),
    ),
    "acoustic.shuffle": replace(
        ACOUSTIC,
        bpm=(108, 128),
        kit="brush",
        drums={"snare": "....x.......x...", "hat": "x.o.x.o.x.o.x.o."},
        chords=("steel guitar", "0...x.o.0...x.o.", 58),
        lead=("slide", "x...o...x.x.....", 72),
        swing=0.3,
    ),
}
