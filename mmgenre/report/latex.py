r"""Tables of a run for a paper: LaTeX with booktabs (\usepackage{booktabs})."""

from __future__ import annotations

from collections.abc import Sequence

from mmgenre.measuring.results import FusionResult, StepResult
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
    body = []
    for row in rows:
        cells = [
            rf"\textbf{{{escaped(str(cell))}}}" if best else escaped(str(cell))
            for cell, best in zip(row.cells, row.best, strict=True)
        ]
        body.append([escaped(row.name), *cells])
    label = f"{fusion['name'].replace('+', '-').replace('_', '-')}-{items}"
    return _float(caption.strip(), label, ["", *titles.values()], body, f"l{'r' * len(titles)}")


def latex_steps(steps: Sequence[StepResult], run: str) -> str:
    """A table float of what each step of a run took; a dash where that is not known."""
    body = [[escaped(cell) for cell in cells] for cells in tables.steps_table(steps)]
    caption = f"Steps of {run}: seconds, and the parameters that were trained."
    return _float(caption, "steps", tables.STEP_COLUMNS, body, "llrr")


def _float(
    caption: str,
    label: str,
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: str,
) -> str:
    """A table float; cells are LaTeX, all other text is not."""
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escaped(caption)}}}",
        rf"  \label{{tab:{label}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        "    " + " & ".join(map(escaped, titles)) + r" \\",
        r"    \midrule",
        *("    " + " & ".join(cells) + r" \\" for cells in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)
