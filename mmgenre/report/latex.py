r"""Tables of a fusion for a paper: LaTeX with booktabs (\usepackage{booktabs})."""

from __future__ import annotations

from mmgenre.measuring.results import FusionResult
from mmgenre.report import tables

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "–": "--", "−": "$-$", "\N{NO-BREAK SPACE}": "~",
}  # fmt: skip


def escaped(text: str) -> str:
    r"""Text with the characters that LaTeX reads as commands written out.

    >>> escaped("A+T_1 & 50 %")
    'A+T\\_1 \\& 50 \\%'
    """
    return "".join(SPECIAL.get(sign, sign) for sign in text)


def latex_table(fusion: FusionResult, items: tables.ItemSet | None = None) -> str:
    """A table float of all rows; bold where `tables.fusion_table` says best."""
    items = items or tables.headline_items(fusion)
    rows = tables.fusion_table(fusion, items)
    titles = tables.columns(fusion)
    n_items = ", ".join(f"{n:,}" for n in sorted({row.n_items for row in rows})) or "no"
    caption = f"{fusion['name']}: {n_items} test items, {tables.ITEM_SETS[items]}. "
    caption += tables.headline(fusion) if items == tables.headline_items(fusion) else ""
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escaped(caption.strip())}}}",
        rf"  \label{{tab:{fusion['name'].replace('+', '-').replace('_', '-')}-{items}}}",
        rf"  \begin{{tabular}}{{l{'r' * len(titles)}}}",
        r"    \toprule",
        "    " + " & ".join(["", *map(escaped, titles.values())]) + r" \\",
        r"    \midrule",
    ]
    for row in rows:
        cells = [
            rf"\textbf{{{escaped(str(cell))}}}" if best else escaped(str(cell))
            for cell, best in zip(row.cells, row.best, strict=True)
        ]
        lines.append("    " + " & ".join([escaped(row.name), *cells]) + r" \\")
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)
