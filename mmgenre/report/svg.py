"""Drawing on a figure of its own, and matplotlib's SVG as a small element of an HTML page."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#22272E"
FONT = "system-ui, sans-serif"

_STYLE: dict[str, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mmgenre",
    "text.parse_math": False,  # a label may hold dollar signs
    "font.family": "DejaVu Sans",  # comes with matplotlib, so widths are the same everywhere
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8A94A0",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E3E7EC",
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.constrained_layout.use": True,
}
_NUMBER, _FONT = re.compile(r"\d+\.\d+"), re.compile(r"font-family: 'DejaVu Sans';? ?")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """What XML and UTF-8 cannot hold becomes the replacement character."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


@contextmanager
def drawing(width_in: float, height_in: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of its own, outside any global state, in the report's style."""
    with rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(width_in, height_in))
        yield figure, figure.add_subplot()


def inline(figure: Figure, key: str, label: str, *, crop: bool = False) -> Markup:
    """The figure as an <svg> element for an HTML page: no namespaces, ids unique by `key`."""
    buffer, box = io.BytesIO(), "tight" if crop else None
    with rc_context(_STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        # The browser draws the text: what matplotlib's own font lacks does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches=box)
    root = ET.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag.rpartition("}")[2] in ("metadata", "style")]:
            parent.remove(child)
    used = set(re.findall(r"(?:href=\"|url\()#([\w-]+)", buffer.getvalue().decode()))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        old, element.attrib = dict(element.attrib), {}
        for name, value in old.items():
            name = name.rpartition("}")[2]
            if name == "id":
                if value not in used:
                    continue
                value = f"{key}-{value}"
            elif name == "href" and value.startswith("#"):
                value = f"#{key}-{value[1:]}"
            elif name == "style":
                value = _FONT.sub("", value)
            elif name in ("x", "y", "d"):  # a hundredth of a pixel is not seen; its digits add up
                value = _NUMBER.sub(lambda n: f"{float(n[0]):.2f}".rstrip("0").rstrip("."), value)
            if name != "transform" or not value.startswith("rotate(-0 "):
                element.attrib[name] = re.sub(r"url\(#", f"url(#{key}-", value)
        for space in ("text", "tail"):
            if not (getattr(element, space) or "x").strip():
                setattr(element, space, None)
    width = round(float(root.attrib["viewBox"].split()[2]) * 96 / 72)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": printable(label),
        "style": f"max-width:{width}px;min-width:{round(width * 0.68)}px;font-family:{FONT}",
    }
    return Markup(ET.tostring(root, encoding="unicode"))
