document.documentElement.classList.add("js");
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") === "descending";
    const value = (row) => row.cells[column].textContent;
    const size = (row) => parseFloat(value(row).replaceAll(",", ""));
    const compare = (a, b) => {
      const x = size(a), y = size(b);
      if (column > 0 && (Number.isFinite(x) || Number.isFinite(y)))
        return (Number.isFinite(x) ? x : -1) - (Number.isFinite(y) ? y : -1);
      return value(b).localeCompare(value(a));
    };
    const rows = [...body.rows].sort((a, b) => (up ? compare(a, b) : compare(b, a)));
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...rows);
  }));
}
