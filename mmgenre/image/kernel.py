"""The encoder of descriptors of covers: a kernel machine without training."""

from mmgenre.image.descriptors import WIDTHS, described
from mmgenre.image.settings import ImageConfig
from mmgenre.learning.kernel import Described

DESCRIPTORS = Described(WIDTHS, described, ImageConfig)
make_descriptors, load_descriptors = DESCRIPTORS.make, DESCRIPTORS.load
