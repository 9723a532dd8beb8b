"""metrics.json in, one self-contained HTML page out; no torch."""

from mmgenre.report.page import render, write_report
from mmgenre.report.tables import fusion_table

__all__ = ["fusion_table", "render", "write_report"]
