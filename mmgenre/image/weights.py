"""Whether published weights of a network are here, or can be fetched."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from mmgenre.image.backbones import BACKBONES, ImageNetwork
from mmgenre.image.settings import DEFAULT

PATIENCE_S = 3.0  # for the server to answer


def can_be_had(network: ImageNetwork = DEFAULT, weights: str = "imagenet") -> bool:
    """Whether a network can begin as settings say; only for ImageNet weights is anything needed.

    Torch's hub cache is looked at first, then the server is asked whether it answers.
    """
    backbone = BACKBONES.get(network)
    if weights != "imagenet" or backbone is None or backbone.imagenet is None:
        return True  # from scratch, from a file, or an error that says what is wrong
    url = str(backbone.published_weights().url)
    home = Path(os.environ.get("TORCH_HOME", "~/.cache/torch")).expanduser()
    if (home / "hub/checkpoints" / url.rsplit("/", 1)[-1]).is_file():
        return True
    address = urlsplit(url)
    try:
        with socket.create_connection((str(address.hostname), 443), timeout=PATIENCE_S):
            return True
    except OSError:
        return False
