"""Whether published weights of a network are on this machine. No server is asked."""

from __future__ import annotations

from pathlib import Path

import torch

from mmgenre.image.backbones import BACKBONES, ImageNetwork
from mmgenre.image.settings import DEFAULT


def are_here(network: ImageNetwork = DEFAULT, weights: str = "imagenet") -> bool:
    """Whether a network can begin as settings say; only ImageNet weights need a file.

    It is looked for in torch's hub cache, where torchvision puts it.
    """
    backbone = BACKBONES.get(network)
    if weights != "imagenet" or backbone is None or backbone.imagenet is None:
        return True  # from scratch, from a file, or an error that says what is wrong
    url = str(backbone.published_weights().url)
    return (Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]).is_file()
