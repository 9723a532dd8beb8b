document.documentElement.classList.add("js");

// Tables are sorted by a click on a heading.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") === "descending";
    const value = (row) => row.cells[column].textContent.trim();
    const size = (row) => parseFloat(value(row).replaceAll(",", "").replace("−", "-"));
    const compare = (a, b) => {
      const x = size(a), y = size(b);
      if (column > 0 && (Number.isFinite(x) || Number.isFinite(y)))
        return (Number.isFinite(x) ? x : -Infinity) - (Number.isFinite(y) ? y : -Infinity) || 0;
      return value(b).localeCompare(value(a));
    };
    const rows = [...body.rows].sort((a, b) => (up ? compare(a, b) : compare(b, a)));
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...rows);
  }));
}

// One excerpt at a time.
const players = [...document.querySelectorAll("audio")];
for (const player of players) {
  player.addEventListener("play", () => {
    for (const other of players) if (other !== player) other.pause();
  });
}
const playOf = (point) => document.getElementById(point.dataset.plays || "")?.querySelector("audio");

// Points of a map are named by pointer and by arrow keys; those with an excerpt play.
for (const map of document.querySelectorAll(".map")) {
  const svg = map.querySelector("svg"), tip = map.querySelector(".tip");
  const points = [...svg.querySelectorAll("path")].map((path) => {
    const title = path.querySelector("title"), name = title.textContent;
    title.remove();
    return { path, name };
  });
  const placed = () => {  // measured when first needed: a hidden map has no size
    if (points.length && points[0].x === undefined)
      for (const point of points) {
        const box = point.path.getBBox();
        point.x = box.x + box.width / 2;
        point.y = box.y + box.height / 2;
      }
    return points;
  };
  const [, , wide, high] = svg.getAttribute("viewBox").split(" ").map(Number);
  let shown = null;
  const show = (point) => {
    if (point === shown) return;
    shown?.path.classList.remove("on");
    shown = point;
    tip.classList.toggle("on", Boolean(point));
    if (!point) return;
    point.path.classList.add("on");
    tip.textContent = point.name + (point.path.dataset.plays ? " ▶" : "");
    tip.style.left = `${Math.min(Math.max(100 * point.x / wide, 15), 85)}%`;
    tip.style.top = `${100 * point.y / high}%`;
    tip.classList.toggle("below", point.y < high / 5);
  };
  const nearest = (event) => {
    const box = svg.getBoundingClientRect(), scale = wide / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    let best = null, least = (16 * scale) ** 2;
    for (const point of placed()) {
      const apart = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (apart < least) [best, least] = [point, apart];
    }
    return best;
  };
  const play = () => {
    const player = shown && playOf(shown.path);
    if (player) player.paused ? player.play() : player.pause();
  };
  svg.addEventListener("pointermove", (event) => show(nearest(event)));
  svg.addEventListener("pointerleave", () => show(null));
  svg.addEventListener("click", (event) => { show(nearest(event)); play(); });
  map.addEventListener("blur", () => show(null));
  const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  map.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      play();
    } else if (ways[event.key]) {
      const [dx, dy] = ways[event.key], from = shown ?? { x: wide / 2, y: high / 2 };
      let best = null, least = Infinity;
      for (const point of placed()) {
        const along = (point.x - from.x) * dx + (point.y - from.y) * dy;
        const aside = Math.abs((point.x - from.x) * dy) + Math.abs((point.y - from.y) * dx);
        if (point !== shown && along > 0 && along + 2 * aside < least)
          [best, least] = [point, along + 2 * aside];
      }
      if (best) show(best);
    } else if (event.key === "Escape") {
      show(null);
    } else {
      return;
    }
    event.preventDefault();
  });
}

// A link to something that is folded unfolds it.
const unfold = () => {
  let target = location.hash && document.getElementById(location.hash.slice(1));
  for (; target; target = target.parentElement) if (target.tagName === "DETAILS") target.open = true;
};
addEventListener("hashchange", unfold);
unfold();
