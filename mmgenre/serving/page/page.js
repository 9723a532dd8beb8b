// What is dropped or chosen, its upload, and what the server answers. Data become text, never markup.
import { add, show } from "/draw.js";

const by = (id) => document.getElementById(id);
const MEDIA = ["audio", "image", "text"];
const WORDS = { audio: "audio", image: "cover", text: "text" };
const chosen = { audio: [], image: [], text: [] };
const TEXTS = [".txt", ".md", ".lrc", ".text"];
let model = null, sending = null, thumbnail = null;

const megabytes = (n) => (n < 1e5 ? `${Math.ceil(n / 1e3)} kB` : `${(n / 1e6).toFixed(1)} MB`);
const suffix = (file) => (file.name.match(/\.[^.]+$/)?.[0] ?? "").toLowerCase();

function fault(lines, kind = "bad") {
  const box = by("fault");
  box.replaceChildren();
  if (!lines.length) return;
  const note = add(box, "div", `note ${kind}`);
  for (const line of lines) add(note, "p", "", line);
}

function mediumOf(file) {
  const end = suffix(file);
  if (model.suffixes.audio.includes(end) || file.type.startsWith("audio/")) return "audio";
  if (model.suffixes.image.includes(end) || file.type.startsWith("image/")) return "image";
  return TEXTS.includes(end) || file.type === "text/plain" ? "text" : null;
}

// Takes files of any kind, or of one; what cannot be sent is said at once, without an upload.
function take(files, only = null) {
  const faults = [];
  for (const file of files) {
    const medium = only ?? mediumOf(file);
    if (medium === null) faults.push(`${file.name}: is neither audio nor a picture nor a text.`);
    else if (!(medium in model.modalities))
      faults.push(`${file.name}: this model does not read ${WORDS[medium]}.`);
    else if (file.size > model.file_mb[medium] * 1e6)
      faults.push(`${file.name}: ${megabytes(file.size)}; at most ${model.file_mb[medium]} MB can be sent.`);
    else if (!file.size) faults.push(`${file.name}: is empty, or a folder.`);
    else if (model.files[medium] === 1) chosen[medium] = [file];
    else if (chosen[medium].length === model.files[medium])
      faults.push(`${file.name}: at most ${model.files[medium]} files of ${WORDS[medium]} can be sent.`);
    else chosen[medium].push(file);
  }
  const size = MEDIA.flatMap((medium) => chosen[medium]).reduce((n, file) => n + file.size, 0);
  if (size > model.whole_mb * 1e6)
    faults.push(`Together ${megabytes(size)}; at most ${model.whole_mb} MB can be sent at once.`);
  fault(faults);
  list();
  if (!faults.length && files.length) send();
}

function list() {
  if (thumbnail) URL.revokeObjectURL(thumbnail);
  thumbnail = null;
  for (const medium of MEDIA) {
    const files = by(`${medium}-drop`).querySelector(".files");
    files.replaceChildren();
    for (const file of chosen[medium]) {
      const row = add(files, "li");
      if (medium === "image") {
        const picture = add(row, "img");
        picture.alt = "";
        picture.addEventListener("error", () => picture.remove());
        picture.src = thumbnail = URL.createObjectURL(file);
      }
      add(row, "span", "", file.name);
      add(row, "small", "", megabytes(file.size));
      const remove = add(row, "button", "", "✕");
      remove.type = "button";
      remove.setAttribute("aria-label", `Remove ${file.name}`);
      remove.addEventListener("click", () => {
        chosen[medium] = chosen[medium].filter((other) => other !== file);
        list();
        by(medium).focus();
      });
    }
  }
  by("words").disabled = chosen.text.length > 0;
  const isEmpty = !typed() && MEDIA.every((medium) => !chosen[medium].length);
  by("go").disabled = isEmpty;
  by("clear").hidden = isEmpty;
}

const typed = () => (by("words").disabled ? "" : by("words").value.trim());

function ended() {
  sending = null;
  by("work").hidden = true;
  by("state").textContent = "";
  by("answer").classList.remove("stale");
}

function send() {
  sending?.abort();
  fault([]);
  const form = new FormData(), words = typed();
  for (const medium of MEDIA) for (const file of chosen[medium]) form.append(medium, file, file.name);
  if (words) form.append("text", words);
  const given = { audio: [...chosen.audio], image: chosen.image[0] ?? null, words: words || null, text: chosen.text[0] ?? null };
  const request = (sending = new XMLHttpRequest());
  const still = (act) => (event) => { if (sending === request) act(event); };
  by("work").hidden = false;
  by("state").textContent = "Sending …";
  by("answer").classList.add("stale");
  request.upload.addEventListener("progress", still((event) => {
    if (event.lengthComputable) by("bar").value = event.loaded / event.total;
  }));
  request.upload.addEventListener("load", still(() => {
    by("bar").removeAttribute("value");
    by("state").textContent = "Listening, looking, reading …";
  }));
  request.addEventListener("load", still(() => {
    ended();
    let answer = null;
    try { answer = JSON.parse(request.responseText); } catch { /* told below */ }
    if (request.status === 200 && answer) show(by("answer"), answer, given, model);
    else {
      const refused = (answer?.refused ?? []).map((one) => `${one.file}: ${one.what}`);
      fault([answer?.error ?? (request.responseText.trim() || `The server answered ${request.status}.`), ...refused]);
    }
  }));
  request.addEventListener("error", still(() => {
    ended();
    fault(["The server does not answer. Is mmgenre serve still running?"]);
  }));
  request.open("POST", "/predict");
  request.send(form);
}

function listen() {
  const page = document.body;
  for (const medium of MEDIA) {
    by(`${medium}-drop`).hidden = !(medium in model.modalities);
    by(medium).addEventListener("change", () => {
      take([...by(medium).files], medium);
      by(medium).value = "";
    });
  }
  by("audio").accept = ["audio/*", ...model.suffixes.audio].join(",");
  by("image").accept = ["image/*", ...model.suffixes.image].join(",");
  by("words").addEventListener("input", list);
  by("words").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && typed()) send();
  });
  by("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  by("clear").addEventListener("click", () => {
    sending?.abort();
    ended();
    for (const medium of MEDIA) chosen[medium] = [];
    by("words").disabled = false;
    by("words").value = "";
    fault([]);
    list();
    by("words").focus();
  });
  page.addEventListener("dragover", (event) => {
    event.preventDefault();
    page.classList.add("over");
  });
  page.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) page.classList.remove("over");
  });
  page.addEventListener("drop", (event) => {
    event.preventDefault();
    page.classList.remove("over");
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
}

try {
  model = await (await fetch("/model")).json();
  by("model").textContent = `Model: ${model.name}, ${model.genres} genres` +
    (model.licence ? `; licence of its frozen models: ${model.licence}.` : ".");
  listen();
  list();
} catch {
  fault(["The server does not answer. Is mmgenre serve still running?"]);
}
