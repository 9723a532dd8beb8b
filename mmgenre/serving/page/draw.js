// Draws an answer: genres, and the reasons that it has. What is absent or empty is left out.
const TOP = 6, WORDS = 12, HEADLINE = 3, SET = 8;
const NAMES = { audio: "Audio", text: "Text", image: "Cover" };
const named = (name) => (NAMES[name] ?? name).toLowerCase();
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
let urls = [];  // of the browser's own copies of what was sent

export function add(parent, tag, kind = "", text = null) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text !== null) made.textContent = text;
  parent.append(made);
  return made;
}

const urlOf = (file) => {
  urls.push(URL.createObjectURL(file));
  return urls.at(-1);
};
let unit = 1;  // 100: shares are told in percentage points
const LITTLE = 0.001;

// Writes what pieces add, with as many digits as the largest of them needs.
function signs(values) {
  const largest = unit * Math.max(...values.map(Math.abs), 1e-9);
  const digits = Math.min(5, Math.max(unit === 100 ? 1 : 2, 1 - Math.floor(Math.log10(largest))));
  return (x) => `${x < 0 ? "−" : "+"}${Math.abs(unit * x).toFixed(digits)}`;
}

function little(part, values) {
  const none = `Each of these alone changes the score by less than ${unit * LITTLE}${unit === 100 ? " points" : ""}: it hardly depends on any.`;
  if (values.every((value) => Math.abs(value) < LITTLE)) add(part, "p", "hint", none);
}

const time = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
const score = (x, answer) => {
  if (answer.kind !== "probability") return x.toFixed(2);
  if (x > 0.995 && x < 1) return "> 99\u00a0%";
  return `${(100 * x).toFixed(x < 0.1 ? 1 : 0)}\u00a0%`;
};
const few = (names, n) => names.slice(0, n).join(", ") + (names.length > n ? ` and ${names.length - n} more` : "");

export function show(box, answer, given, model) {
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  box.replaceChildren();
  const reasons = answer.reasons ?? {}, isShare = answer.kind === "probability";
  unit = isShare ? 100 : 1;
  verdict(section(box, null), answer, model);
  genres(section(box, "Genres"), answer);
  if (Object.keys(reasons.shares ?? {}).length) shares(section(box, `Why ${reasons.genre}`), answer, reasons, model);
  if (given.audio.length && answer.used.includes("audio")) audio(section(box, reasons.seconds?.length ? "Seconds" : "Listen"), given.audio, reasons.seconds ?? []);
  if (reasons.words?.length) words(section(box, "Words"), reasons.words);
  if (given.image && reasons.cover?.length) cover(section(box, "Cover"), given.image, reasons.cover);
  if (reasons.nearest?.length) nearest(section(box, "Nearest items the model knows"), reasons.nearest);
  box.focus({ preventScroll: true });
  if (matchMedia("(max-width: 800px)").matches) box.scrollIntoView({ block: "start" });
}

function section(box, title) {
  const made = add(box, "section", title === null ? "first" : "");
  if (title !== null) add(made, "h2", "", title);
  return made;
}

function verdict(part, answer, model) {
  const first = answer.named;
  const line = add(part, "p", "verdict", answer.unsure ? "Not sure" : few(first, HEADLINE) || "No genre");
  const from = `from ${answer.used.map(named).join(", ")}`, isNamed = first.length && !answer.unsure;
  add(line, "small", "faint", isNamed ? from : `${from}; no genre is named, the likeliest is ${answer.genres[0].name}`);
  if (answer.unsure) add(part, "p", "note warn", capital(answer.unsure));
  if (answer.likely?.length) add(part, "p", "faint", `Of the genres of an item, ${100 * model.coverage}\u00a0% are in a set like this one: ${few(answer.likely, SET)}.`);
  const notes = [...(answer.notes ?? []), ...(answer.reasons?.notes ?? [])];
  if (notes.length) {
    const note = add(part, "div", "note");
    for (const one of notes) add(note, "p", "", capital(one));
  }
  if (answer.refused.length) {
    const note = add(part, "div", "note bad");
    for (const one of answer.refused) add(note, "p", "", `Left out: ${one.file}: ${one.what}`);
  }
}

// A row of three cells; the bar goes from `from` to `to`, both shares of the whole width.
function row(grid, name, from, to, value, kind = "") {
  add(grid, "span", "name", name);
  const track = add(grid, "span", "track");
  const bar = add(track, "i", kind);
  bar.style.left = `${100 * Math.min(from, to)}%`;
  bar.style.width = `max(${100 * Math.abs(to - from)}%, 1px)`;
  add(grid, "span", "value", value);
  return track;
}

// Where zero stands between the least and the greatest value, as a share of the whole width.
function axis(values) {
  const low = Math.max(0, -Math.min(...values)), high = Math.max(0, ...values), span = low + high || 1;
  return { zero: low / span, span };
}

// Rows of values that push up or down, from a common zero, on a common scale.
function pushes(part, pairs, scaled = pairs) {
  const grid = add(part, "div", "rows"), values = scaled.map(([, value]) => value);
  const { zero, span } = axis(values), signed = signs(values);
  for (const [name, value] of pairs) {
    const track = row(grid, name, zero, zero + value / span, signed(value), value < 0 ? "down" : "up");
    if (zero > 0 && zero < 1) add(track, "i", "zero").style.left = `${100 * zero}%`;
  }
  return grid;
}

function folded(part, rest, draw) {
  if (!rest.length) return;
  const button = add(part, "button", "plain", `Show ${rest.length} more`);
  button.type = "button";
  button.addEventListener("click", () => {
    button.remove();
    draw();
  });
}

function genres(part, answer) {
  const draw = (list) => {
    const grid = add(part, "div", "rows");
    for (const genre of list) {
      const isNamed = answer.named.includes(genre.name), end = Math.max(0, Math.min(1, genre.score));
      const track = row(grid, genre.name, 0, end, score(genre.score, answer));
      track.classList.toggle("named-bar", isNamed);
      track.previousSibling.classList.toggle("named", isNamed);
    }
  };
  draw(answer.genres.slice(0, TOP));
  folded(part, answer.genres.slice(TOP), () => draw(answer.genres.slice(TOP)));
}

function shares(part, answer, reasons, model) {
  const first = answer.genres.find((genre) => genre.name === reasons.genre);
  const unit = answer.kind === "probability" ? "Percentage points that each adds" : "What each adds";
  add(part, "p", "hint", `With nothing known: ${score(reasons.base, answer)}. With all that was given: ${score(first.score, answer)}. ${unit}:`);
  const grid = pushes(part, Object.entries(reasons.shares).map(([name, share]) => [NAMES[name] ?? name, share]));
  Object.keys(reasons.shares).forEach((name, k) => {
    const colour = model.modalities[name]?.colour;
    if (!colour) return;
    const label = grid.querySelectorAll(".name")[k];
    label.style.borderLeft = `4px solid ${colour}`;
    label.style.paddingLeft = ".5rem";
  });
  const alone = Object.entries(reasons.alone ?? {});
  if (alone.length > 1) {
    const told = alone.map(([name, genre]) => `${named(name)} ${genre.name} (${score(genre.score, answer)})`);
    add(part, "p", "hint", `Each alone would say: ${told.join("; ")}.`);
  }
}

// The browser's own copy of each track, and a timeline of what its seconds add.
function audio(part, files, spans) {
  if (spans.length) add(part, "p", "hint", "What each stretch adds to the score. Choose one to hear it; arrow keys go on to the next.");
  const all = spans.map((span) => span.share), scale = axis(all);
  if (spans.length) little(part, all);
  files.forEach((file, track) => {
    const own = spans.filter((span) => (span.track ?? 0) === track);
    if (files.length > 1) add(part, "p", "", file.name);
    const player = document.createElement("audio");
    player.controls = true;
    player.preload = "metadata";
    player.setAttribute("aria-label", file.name);
    player.addEventListener("error", () => player.replaceWith(cannot("This browser cannot play this format.")));
    if (own.length) timeline(part, own, player, scale, all);
    part.append(player);
    player.src = urlOf(file);
  });
}

function cannot(text) {
  const made = document.createElement("p");
  made.className = "hint";
  made.textContent = text;
  return made;
}

function timeline(part, spans, player, scale, all) {
  const line = add(part, "div", "line"), ends = add(part, "div", "ends");
  const [begin, chosen, finish] = ["span", "span", "span"].map((tag) => add(ends, tag));
  begin.textContent = time(0);
  line.setAttribute("role", "group");
  line.setAttribute("aria-label", "Timeline");
  const signed = signs(all), shown = (span, k) => Math.min(span.end_s, spans[k + 1]?.start_s ?? Infinity);
  const buttons = spans.map((span, k) => {
    const button = add(line, "button"), height = (96 * Math.abs(span.share)) / scale.span;
    button.type = "button";
    button.tabIndex = k ? -1 : 0;
    button.title = `${time(span.start_s)} to ${time(span.end_s)}: ${signed(span.share)}`;
    button.setAttribute("aria-label", button.title);
    const bar = add(button, "i", span.share < 0 ? "down" : "up");
    bar.style.height = `max(${height}%, 2px)`;
    bar.style[span.share < 0 ? "top" : "bottom"] = `${span.share < 0 ? 2 + 96 * (1 - scale.zero) : 2 + 96 * scale.zero}%`;
    button.addEventListener("focus", () => { chosen.textContent = button.title; });
    button.addEventListener("click", () => {
      chosen.textContent = button.title;
      player.currentTime = span.start_s;
      player.play().catch(() => {});
    });
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], next = buttons[k + step];
      if (!next) return;
      button.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
      event.preventDefault();
    });
    return button;
  });
  const head = add(line, "span", "head");
  const last = Math.max(...spans.map((span) => span.end_s));
  const place = () => {
    const length = Math.max(Number.isFinite(player.duration) ? player.duration : 0, last);
    spans.forEach((span, k) => {
      buttons[k].style.left = `${(100 * span.start_s) / length}%`;
      buttons[k].style.width = `${(100 * (shown(span, k) - span.start_s)) / length}%`;
    });
    head.style.left = `${(100 * player.currentTime) / length}%`;
    finish.textContent = time(length);
  };
  player.addEventListener("loadedmetadata", place);
  player.addEventListener("timeupdate", () => {
    head.style.left = `${(100 * player.currentTime) / Math.max(player.duration || 0, last)}%`;
  });
  place();
}

function words(part, pieces) {
  const sorted = pieces.map((piece) => [piece.name, piece.share]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  little(part, sorted.map(([, share]) => share));
  pushes(part, sorted.slice(0, WORDS), sorted);
  folded(part, sorted.slice(WORDS), () => pushes(part, sorted.slice(WORDS), sorted));
}

// The model sees the square in the middle of a cover; so does the page.
function cover(part, file, grid) {
  const pair = add(part, "div", "pair"), frame = add(pair, "div", "cover grey"), side = add(pair, "div");
  const picture = add(frame, "img");
  picture.alt = "The cover";
  picture.addEventListener("error", () => {
    picture.remove();
    add(side, "p", "hint", "This browser cannot show this format.");
  });
  picture.src = urlOf(file);
  const heat = add(frame, "canvas", "heat"), rows = grid.length, columns = grid[0].length;
  const scale = Math.max(...grid.flat().map(Math.abs), 1e-9), paint = heat.getContext("2d");
  [heat.width, heat.height] = [columns, rows];  // the browser smooths it as it enlarges it
  grid.forEach((line, y) => line.forEach((share, x) => {
    paint.fillStyle = `rgba(${share < 0 ? "255,120,20" : "30,120,255"},${(0.8 * Math.abs(share)) / scale})`;
    paint.fillRect(x, y, 1, 1);
  }));
  const [best, worst] = [Math.max(...grid.flat()), Math.min(...grid.flat())], signed = signs([best, worst]);
  add(side, "p", "hint", `Blue regions speak for the genre${worst < 0 ? ", orange ones against it" : ""}: from ${signed(worst)} to ${signed(best)}.`);
  little(side, grid.flat());
  const toggle = add(side, "button", "", "Hide the map");
  toggle.type = "button";
  toggle.addEventListener("click", () => {
    heat.hidden = !heat.hidden;
    frame.classList.toggle("grey", !heat.hidden);
    toggle.textContent = heat.hidden ? "Show the map" : "Hide the map";
  });
}

function nearest(part, items) {
  const list = add(part, "ul", "near");
  for (const item of items) {
    const line = add(list, "li");
    add(line, "span", "", item.id);
    add(line, "span", "", `${item.genres.join(", ")} · ${item.similarity.toFixed(2)}`);
  }
}
