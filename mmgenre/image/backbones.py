"""The networks that covers can be read with: how each is built, cut into stages, fed and loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import nn
from torchvision import models

from mmgenre.image.cover_cnns import plain_cnn, six_blocks

# In the order of their cost.
ImageNetwork = Literal[
    "cnn-5x5",
    "alexnet",
    "cnn-6-blocks",
    "resnet-18",
    "cnn-10x10",
    "densenet-169",
    "resnet-50",
    "densenet-201",
    "convnext-tiny",
    "swin-t",
    "inception-v3",
    "resnet-101",
    "vgg-16",
    "vit-b-16",
]
Stages = tuple[tuple[str, tuple[str, ...]], ...]
RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Backbone:
    """A network and what it was made for.

    Attributes:
        make: builds it with random weights, with its classifier.
        classifier: path of the classifier's linear layer; None: it has none.
        width: of what the classifier gets, and so of the native embedding.
        imagenet: torchvision's entry of its weights; None: none are published.
        stages: from the pixels on, (name, beginnings of the names of its weights).
        crop_px: side of what it sees, unless a recipe says otherwise.
        stored_px: side of the stored square that this is cut from, unless a recipe does.
        least_px: the smallest crop that it can take.
        patch_px: side of its patches, of which a cover must hold whole ones; None: has none.
        mean: of the colours in [0, 1] that it was trained with; subtracted.
        std: of the same; divided by.
        int8: whether it embeds in 8-bit integers at least twice as fast, and about as well.
    """

    make: Callable[..., nn.Module]
    classifier: str | None
    width: int
    imagenet: Any
    stages: Stages
    crop_px: int = 224
    stored_px: int = 256
    least_px: int = 8
    patch_px: int | None = None
    mean: RGB = (0.485, 0.456, 0.406)
    std: RGB = (0.229, 0.224, 0.225)
    int8: bool = True

    def build(self, crop_px: int) -> nn.Module:
        """The network with random weights and its classifier, for covers of that size."""
        return self.make() if self.patch_px is None else self.make(image_size=crop_px)


def _layers(*stages: tuple[str, str]) -> Stages:
    """("block1", "features.0 features.2") -> ("block1", ("features.0", "features.2"))."""
    return tuple((name, tuple(prefixes.split())) for name, prefixes in stages)


_RESIDUAL = _layers(
    ("stem", "conv1 bn1"),
    *((f"layer{k}", f"layer{k}") for k in (1, 2, 3, 4)),
)
_DENSE = _layers(
    ("stem", "features.conv0 features.norm0"),
    *((f"denseblock{k}", f"features.denseblock{k} features.transition{k}") for k in (1, 2, 3)),
    ("denseblock4", "features.denseblock4 features.norm5"),
)
_PLAIN = _layers(*((f"block{k}", f"block{k}") for k in (1, 2, 3, 4)))

BACKBONES: Mapping[ImageNetwork, Backbone] = {
    "alexnet": Backbone(
        models.alexnet,
        "classifier.6",
        4096,
        models.AlexNet_Weights.IMAGENET1K_V1,
        _layers(
            *((f"conv{k}", f"features.{i}") for k, i in enumerate((0, 3, 6, 8, 10), start=1)),
            ("dense", "classifier"),
        ),
        least_px=63,
    ),
    "cnn-5x5": Backbone(
        partial(plain_cnn, 5), None, 2048, None, _PLAIN,
        crop_px=256, least_px=16, mean=(0, 0, 0), std=(1, 1, 1),
    ),
    "cnn-6-blocks": Backbone(
        six_blocks, None, 2048, None,
        _layers(*((f"block{k}", f"block{k}") for k in range(1, 7)), ("dense", "dense")),
        crop_px=256, least_px=64, mean=(0, 0, 0), std=(1, 1, 1),
    ),
    "resnet-18": Backbone(
        models.resnet18, "fc", 512, models.ResNet18_Weights.IMAGENET1K_V1, _RESIDUAL
    ),
    "cnn-10x10": Backbone(
        partial(plain_cnn, 10), None, 2048, None, _PLAIN,
        crop_px=256, least_px=16, mean=(0, 0, 0), std=(1, 1, 1),
    ),
    "densenet-169": Backbone(
        models.densenet169, "classifier", 1664, models.DenseNet169_Weights.IMAGENET1K_V1, _DENSE,
        least_px=32,
    ),
    "resnet-50": Backbone(
        models.resnet50, "fc", 2048, models.ResNet50_Weights.IMAGENET1K_V2, _RESIDUAL
    ),
    "densenet-201": Backbone(
        models.densenet201, "classifier", 1920, models.DenseNet201_Weights.IMAGENET1K_V1, _DENSE,
        least_px=32,
    ),
    "convnext-tiny": Backbone(
        models.convnext_tiny, "classifier.2", 768, models.ConvNeXt_Tiny_Weights.IMAGENET1K_V1,
        _layers(
            ("stem", "features.0"),
            ("stage1", "features.1"),
            ("stage2", "features.2 features.3"),
            ("stage3", "features.4 features.5"),
            ("stage4", "features.6 features.7 classifier.0"),
        ),
        least_px=32, int8=False,
    ),
    "swin-t": Backbone(
        models.swin_t, "head", 768, models.Swin_T_Weights.IMAGENET1K_V1,
        _layers(
            ("stem", "features.0"),
            ("stage1", "features.1"),
            ("stage2", "features.2 features.3"),
            ("stage3", "features.4 features.5"),
            ("stage4", "features.6 features.7 norm"),
        ),
        least_px=32, int8=False,
    ),
    "inception-v3": Backbone(
        partial(models.inception_v3, init_weights=True),
        "fc", 2048, models.Inception_V3_Weights.IMAGENET1K_V1,
        _layers(
            ("stem", "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Conv2d_3b_1x1 Conv2d_4a_3x3"),
            ("mixed5", "Mixed_5b Mixed_5c Mixed_5d"),
            ("mixed6", "Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e"),
            ("mixed7", "Mixed_7a Mixed_7b Mixed_7c"),
        ),
        # torchvision brings ImageNet's scale back to these, with which the weights were trained.
        crop_px=299, stored_px=342, least_px=75, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
        int8=False,
    ),
    "resnet-101": Backbone(
        models.resnet101, "fc", 2048, models.ResNet101_Weights.IMAGENET1K_V2, _RESIDUAL
    ),
    "vgg-16": Backbone(
        models.vgg16, "classifier.6", 4096, models.VGG16_Weights.IMAGENET1K_V1,
        _layers(
            ("block1", "features.0 features.2"),
            ("block2", "features.5 features.7"),
            ("block3", "features.10 features.12 features.14"),
            ("block4", "features.17 features.19 features.21"),
            ("block5", "features.24 features.26 features.28"),
            ("dense", "classifier"),
        ),
        least_px=32,
    ),
    "vit-b-16": Backbone(
        models.vit_b_16, "heads.head", 768, models.ViT_B_16_Weights.IMAGENET1K_V1,
        _layers(
            ("embedding", "class_token conv_proj encoder.pos_embedding"),
            *((f"layer{k}", f"encoder.layers.encoder_layer_{k - 1}") for k in range(1, 12)),
            ("layer12", "encoder.layers.encoder_layer_11 encoder.ln"),
        ),
        least_px=16, patch_px=16, int8=False,
    ),
}  # fmt: skip
# The others gain too little, as layer norms, GELUs and attention stay in float32; or, as Inception,
# join branches that torch scales differently, and come out far off (mean cosine .7 to .8).
INT8_NETWORKS = tuple(name for name, backbone in BACKBONES.items() if backbone.int8)


def check_size(network: ImageNetwork, crop_px: int, *, published: bool) -> None:
    """Refuses covers that a network cannot take, with its published weights or without.

    Raises:
        ValueError: says which it takes.
    """
    backbone = BACKBONES[network]
    patch = backbone.patch_px or 1
    if crop_px < backbone.least_px or crop_px % patch:
        steps = f", in steps of {patch}" if patch > 1 else ""
        raise ValueError(f"crop_px {crop_px}: {network} takes {backbone.least_px} or more{steps}")
    if published and patch > 1 and crop_px != backbone.crop_px:
        raise ValueError(
            f"crop_px {crop_px}: {network} from ImageNet weights has position embeddings for "
            f"{backbone.crop_px}; give that, or weights none"
        )


def headless(backbone: Backbone, whole: nn.Module) -> nn.Module:
    """The network without its classifier: what it gave the classifier comes out.

    Inception's auxiliary classifier goes too, so that training and evaluation have the same one
    output: Szegedy et al. 2016 (sec. 4) take it for a regulariser, and no loss of ours weighs it.
    """
    if backbone.classifier is not None:
        whole.set_submodule(backbone.classifier, nn.Identity())
    if isinstance(whole, models.Inception3):
        whole.aux_logits, whole.AuxLogits = False, None
    return whole
