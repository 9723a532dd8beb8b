"""The encoder of statistics of tracks: a kernel machine without training."""

from mmgenre.audio.settings import AudioConfig
from mmgenre.audio.statistics import WIDTHS, described
from mmgenre.learning.kernel import Described

STATISTICS = Described(WIDTHS, described, AudioConfig)
make_statistics, load_statistics = STATISTICS.make, STATISTICS.load
