"""Which stages of a backbone learn, and how fast."""

from __future__ import annotations

import re

from mmgenre.image.backbones import BACKBONES, ImageNetwork


def stage_of(network: ImageNetwork, name: str) -> str | None:
    """The stage that a weight or a module of the backbone is in; None for what holds several.

    >>> stage_of("vit-b-16", "encoder.layers.encoder_layer_10.ln_1.weight")
    'layer11'
    """
    for stage, prefixes in BACKBONES[network].stages:
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes):
            return stage
    return None


def frozen_stages(network: ImageNetwork, freeze: tuple[str, ...] | str) -> tuple[str, ...]:
    """The stages that do not learn, in their order.

    >>> frozen_stages("resnet-18", "all but the last 2 stages")
    ('stem', 'layer1', 'layer2')

    Raises:
        ValueError: no such stage, or not a way to say it; names the known ones.
    """
    known = tuple(name for name, _ in BACKBONES[network].stages)
    if isinstance(freeze, tuple):
        unknown = [name for name in freeze if name not in known]
        if unknown:
            raise ValueError(
                f"freeze: {network} has no stage {unknown[0]!r}; known: {', '.join(known)}"
            )
        return tuple(name for name in known if name in freeze)
    if freeze == "none":
        return ()
    said = re.fullmatch(r"all but the last (\d+) stages?", freeze)
    if said is None or int(said[1]) >= len(known):
        raise ValueError(
            f"freeze {freeze!r}: write 'none', 'all but the last N stages' with N from 0 to "
            f"{len(known) - 1}, or a list of stages; {network} has {', '.join(known)}"
        )
    return known[: len(known) - int(said[1])]


def rate_factor(
    network: ImageNetwork, name: str, frozen: tuple[str, ...], stage_decay: float
) -> float:
    """What the learning rate of a backbone's weight is multiplied by; 0: it is frozen.

    stage_decay ** (number of stages behind its own). Howard and Ruder 2018, sec. 3.2.

    >>> [rate_factor("resnet-18", name, ("stem",), 0.5) for name in ("bn1.bias", "layer3.0.x")]
    [0.0, 0.5]

    Raises:
        ValueError: a name that no weight of the backbone has.
    """
    stage = stage_of(network, name)
    if stage is None:
        raise ValueError(
            f"{name}: in no stage of {network}; give names as `named_parameters()` has them"
        )
    if stage in frozen:
        return 0.0
    names = [known for known, _ in BACKBONES[network].stages]
    return float(stage_decay ** (len(names) - 1 - names.index(stage)))
