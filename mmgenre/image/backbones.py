"""The networks for covers: how each is built, divided into stages, and what input it expects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from torch import nn

# By increasing cost.
Light = Literal["cnn-5x5", "alexnet", "cnn-6-blocks", "resnet-18", "cnn-10x10", "densenet-169"]
Medium = Literal["resnet-50", "densenet-201", "convnext-tiny", "swin-t"]
ImageNetwork = Literal[Light, Medium, "inception-v3", "resnet-101", "vgg-16", "vit-b-16"]
Stages = tuple[tuple[str, tuple[str, ...]], ...]
RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Backbone:
    """A network and the input that it expects; sides are in pixels."""

    make: str  # function that builds it, of `torchvision.models` or `cover_cnns`
    classifier: str | None  # path of its linear layer; None: it has none
    width: int  # of the classifier's input, which is the native embedding
    imagenet: str | None  # version of torchvision's weights; None: none are published
    stages: Stages  # from input to output, (name, prefixes of the names of its weights)
    crop_px: int = 224  # default side of its input
    stored_px: int = 256  # default side of the stored square from which the input is cropped
    least_px: int = 8  # the smallest input
    patch_px: int | None = None  # the input is a multiple of its patches; None: no patches
    mean: RGB = (0.485, 0.456, 0.406)  # inputs are scaled by those that colours in [0, 1] had in
    std: RGB = (0.229, 0.224, 0.225)  # its training

    def build(self, crop_px: int) -> nn.Module:
        """The network with random weights and its classifier, for inputs of that size."""
        from torchvision import models  # here, since it takes seconds to import

        from mmgenre.image import cover_cnns

        options: dict[str, Any] = {} if self.patch_px is None else {"image_size": crop_px}
        if self.make == "inception_v3":
            options = {"init_weights": True}
        make = getattr(cover_cnns if self.imagenet is None else models, self.make)
        return cast("nn.Module", make(**options))

    def published_weights(self) -> Any:
        """Torchvision's entry of its ImageNet weights; None: none are published."""
        from torchvision import models

        name = f"IMAGENET1K_{self.imagenet}"
        return None if self.imagenet is None else models.get_model_weights(self.make)[name]


def _stages(text: str) -> Stages:
    """`stem: conv1 bn1, layer1` -> (("stem", ("conv1", "bn1")), ("layer1", ("layer1",)))."""
    pairs = [stage.partition(":")[::2] for stage in text.split(", ")]
    return tuple((name, tuple((prefixes or name).split())) for name, prefixes in pairs)


_ALEXNET = _stages(
    "conv1: features.0, conv2: features.3, conv3: features.6, conv4: features.8, "
    "conv5: features.10, dense: classifier"
)
_RESIDUAL = _stages("stem: conv1 bn1, layer1, layer2, layer3, layer4")
_DENSE = _stages(
    "stem: features.conv0 features.norm0, "
    "denseblock1: features.denseblock1 features.transition1, "
    "denseblock2: features.denseblock2 features.transition2, "
    "denseblock3: features.denseblock3 features.transition3, "
    "denseblock4: features.denseblock4 features.norm5"
)
# Of ConvNeXt and Swin; a norm follows.
_FEATURES = (
    "stem: features.0, stage1: features.1, stage2: features.2 features.3, "
    "stage3: features.4 features.5, stage4: features.6 features.7"
)
_CONVNEXT, _SWIN = _stages(f"{_FEATURES} classifier.0"), _stages(f"{_FEATURES} norm")
_INCEPTION = _stages(
    "stem: Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Conv2d_3b_1x1 Conv2d_4a_3x3, "
    "mixed5: Mixed_5b Mixed_5c Mixed_5d, "
    "mixed6: Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e, mixed7: Mixed_7a Mixed_7b Mixed_7c"
)
_VGG = _stages(
    "block1: features.0 features.2, block2: features.5 features.7, "
    "block3: features.10 features.12 features.14, block4: features.17 features.19 features.21, "
    "block5: features.24 features.26 features.28, dense: classifier"
)
_TRANSFORMER = _stages(
    "embedding: class_token conv_proj encoder.pos_embedding, "
    + "".join(f"layer{k}: encoder.layers.encoder_layer_{k - 1}, " for k in range(1, 12))
    + "layer12: encoder.layers.encoder_layer_11 encoder.ln"
)
_PLAIN = _stages("block1, block2, block3, block4")
_BLOCKS = _stages("block1, block2, block3, block4, block5, block6, dense")
_ours = partial(Backbone, classifier=None, width=2048, imagenet=None, crop_px=256)
_cover_cnn = partial(_ours, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
_large = partial(Backbone, crop_px=299, stored_px=342)
# Inception's weights were trained with it; torchvision converts ImageNet's colours to it.
_HALF = (0.5, 0.5, 0.5)

BACKBONES: Mapping[ImageNetwork, Backbone] = {
    "alexnet": Backbone("alexnet", "classifier.6", 4096, "V1", _ALEXNET, least_px=63),
    "cnn-5x5": _cover_cnn("cnn_5x5", stages=_PLAIN, least_px=16),
    "cnn-6-blocks": _cover_cnn("six_blocks", stages=_BLOCKS, least_px=64),
    "resnet-18": Backbone("resnet18", "fc", 512, "V1", _RESIDUAL),
    "cnn-10x10": _cover_cnn("cnn_10x10", stages=_PLAIN, least_px=16),
    "densenet-169": Backbone("densenet169", "classifier", 1664, "V1", _DENSE, least_px=32),
    "resnet-50": Backbone("resnet50", "fc", 2048, "V2", _RESIDUAL),
    "densenet-201": Backbone("densenet201", "classifier", 1920, "V1", _DENSE, least_px=32),
    "convnext-tiny": Backbone("convnext_tiny", "classifier.2", 768, "V1", _CONVNEXT, least_px=32),
    "swin-t": Backbone("swin_t", "head", 768, "V1", _SWIN, least_px=32),
    "inception-v3": _large(
        "inception_v3", "fc", 2048, "V1", _INCEPTION, least_px=75, mean=_HALF, std=_HALF
    ),
    "resnet-101": Backbone("resnet101", "fc", 2048, "V2", _RESIDUAL),
    "vgg-16": Backbone("vgg16", "classifier.6", 4096, "V1", _VGG, least_px=32),
    "vit-b-16": Backbone(
        "vit_b_16", "heads.head", 768, "V1", _TRANSFORMER, least_px=16, patch_px=16
    ),
}


def headless(backbone: Backbone, whole: nn.Module) -> nn.Module:
    """The network without its classifier; its output is what the classifier's input was.

    Inception's auxiliary classifier is removed, too, so that training and evaluation have the same
    output: Szegedy et al. 2016 (sec. 4) consider it a regulariser, and no loss here uses it.
    """
    from torch import nn
    from torchvision.models import Inception3

    if backbone.classifier is not None:
        whole.set_submodule(backbone.classifier, nn.Identity())
    if isinstance(whole, Inception3):
        whole.aux_logits, whole.AuxLogits = False, None
    return whole


def stage_of(network: ImageNetwork, name: str) -> str | None:
    """The stage of a weight or a module of the backbone; None: it contains several stages.

    >>> stage_of("vit-b-16", "encoder.layers.encoder_layer_10.ln_1.weight")
    'layer11'
    """
    for stage, prefixes in BACKBONES[network].stages:
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes):
            return stage
    return None


def frozen_stages(network: ImageNetwork, freeze: tuple[str, ...] | str) -> tuple[str, ...]:
    """The stages that are not trained, from input to output.

    ValueError: no such stage, or another form of text; names the known stages.

    >>> frozen_stages("resnet-18", "all but the last 2 stages")
    ('stem', 'layer1', 'layer2')
    """
    known = tuple(name for name, _ in BACKBONES[network].stages)
    names = ", ".join(known)
    if isinstance(freeze, tuple):
        for name in freeze:
            if name not in known:
                raise ValueError(f"freeze: {network} has no stage {name!r}; known: {names}")
        return tuple(name for name in known if name in freeze)
    if freeze == "none":
        return ()
    match = re.fullmatch(r"all but the last (\d+) stages?", freeze)
    if match is None or int(match[1]) >= len(known):
        raise ValueError(
            f"freeze {freeze!r}: write 'none', 'all but the last N stages' with N from 0 to "
            f"{len(known) - 1}, or a list of stages; {network} has {names}"
        )
    return known[: len(known) - int(match[1])]
