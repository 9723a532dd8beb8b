"""Models that the field uses, with what one must know before: `mmgenre encoders` lists them.

Facts as their cards and configurations state them in November 2026. Any other model of a family in
`mmgenre.frozen.models` works as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Known:
    """A model on the hub. `millions`: of parameters, about; `window_s` and `rate_hz`: of audio."""

    medium: Literal["audio", "text", "image"]
    width: int
    millions: int
    licence: str
    rate_hz: int | None = None
    window_s: float | None = None
    prompt: str = ""  # stands before each text
    remark: str = ""


KNOWN: Mapping[str, Known] = {
    "m-a-p/MERT-v1-95M": Known("audio", 768, 95, "cc-by-nc-4.0", 24_000, 5.0,
                               remark="try layer = \"mean\", or 6"),
    "laion/larger_clap_music": Known("audio", 512, 190, "apache-2.0", 48_000, 10.0,
                                     remark="zero-shot, too"),
    "laion/clap-htsat-unfused": Known("audio", 512, 150, "apache-2.0", 48_000, 10.0,
                                      remark="zero-shot, too"),
    "facebook/dinov2-small": Known("image", 384, 22, "apache-2.0"),
    "facebook/dinov2-base": Known("image", 768, 86, "apache-2.0"),
    "openai/clip-vit-base-patch32": Known("image", 512, 151, "mit"),
    "google/siglip2-base-patch16-224": Known("image", 768, 375, "apache-2.0"),
    "timm/resnet50.a1_in1k": Known("image", 2048, 26, "apache-2.0", remark="as timm:NAME"),
    "sentence-transformers/all-MiniLM-L6-v2": Known("text", 384, 22, "apache-2.0",
                                                    remark="English"),
    "intfloat/multilingual-e5-small": Known("text", 384, 118, "mit", prompt="query: ",
                                            remark="100 languages"),
    "BAAI/bge-m3": Known("text", 1024, 568, "mit", remark="100 languages, long texts"),
}  # fmt: skip
