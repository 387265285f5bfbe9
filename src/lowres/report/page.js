"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Legends: a button shows or hides its series in all charts of its section.
for (const button of all(".legend button")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    for (const group of all("g[data-series]", button.closest("section")))
      if (group.dataset.series === button.dataset.series) group.classList.toggle("off", !shown);
  });
}

// Charts: the text of the nearest mark, by pointer, touch or arrow keys.
const tip = document.getElementById("tip");
let marked = null;
function show(mark) {
  marked?.classList.remove("here");
  marked = mark;
  tip.hidden = !mark;
  if (!mark) return;
  mark.classList.add("here");
  tip.textContent = mark.dataset.tip;
  const box = mark.getBoundingClientRect();
  const left = Math.min(box.right + 8, innerWidth - tip.offsetWidth - 8);
  const above = box.top - tip.offsetHeight - 8;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above > 8 ? above : box.bottom + 8}px`;
}
const marks = (chart) => all("g:not(.off) [data-tip]", chart);
const centre = (mark) => {
  const box = mark.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
};
for (const chart of all("figure > svg")) {
  const nearest = (event) => {
    let best = null, least = 24;
    for (const mark of marks(chart)) {
      const [x, y] = centre(mark);
      const distance = Math.hypot(x - event.clientX, y - event.clientY);
      if (distance <= least) [best, least] = [mark, distance];
    }
    show(best);
  };
  chart.addEventListener("pointermove", nearest);
  chart.addEventListener("pointerdown", nearest);
  chart.addEventListener("pointerleave", () => show(null));
  chart.addEventListener("blur", () => show(null));
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") show(null);
    if (!step) return;
    event.preventDefault();
    const list = marks(chart);
    const place = list.indexOf(marked);
    if (list.length) show(list[place < 0 ? 0 : (place + step + list.length) % list.length]);
  });
}
addEventListener("scroll", () => show(null), { passive: true });

// Cost: seconds or operations.
for (const choice of all("input[name=unit]")) {
  const choose = () => {
    if (choice.checked)
      for (const figure of all("figure[data-unit]")) figure.hidden = figure.dataset.unit !== choice.value;
  };
  choice.addEventListener("change", choose);
  choose();
}

// Tables that are wider than the window have a hint; a printed page unfolds everything.
const hint = () => { for (const box of all(".scroll")) box.classList.toggle("wider", box.scrollWidth > box.clientWidth + 1); };
addEventListener("resize", hint);
for (const part of all("details")) part.addEventListener("toggle", hint);
addEventListener("beforeprint", () => { for (const part of all("details")) part.open = true; });

// The files inside are compressed.
const files = JSON.parse(document.getElementById("files").textContent);
async function unpacked(name) {
  const bytes = Uint8Array.from(atob(files[name]), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}
for (const link of all("a[data-file]")) {
  const type = link.dataset.file.endsWith(".csv") ? "text/csv" : "application/json";
  unpacked(link.dataset.file).then((text) => { link.href = URL.createObjectURL(new Blob([text], { type })); });
}

// Runs: sorted by a heading, filtered by words and status; the first thousands are drawn.
const table = document.getElementById("run-table"), body = table.tBodies[0];
const headings = all("th", table.tHead), counted = document.getElementById("run-count");
const words = document.getElementById("run-words"), status = document.getElementById("run-status");
const more = document.getElementById("run-more");
const lower = (texts) => texts.join("\n").toLowerCase();
const runs = all("tr", body).map((element) => {
  const texts = all("td", element).map((cell) => cell.textContent);
  return { element, texts, state: element.className, words: lower(texts) };
});
const batch = Math.max(1, runs.length);
let limit = batch;
function element(run) {
  if (!run.element) {
    run.element = document.createElement("tr");
    run.element.className = run.state;
    for (const text of run.texts) run.element.insertCell().textContent = text;
  }
  return run.element;
}
function draw() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const kept = runs.filter((run) =>
    (!status.value || run.state === status.value) && wanted.every((word) => run.words.includes(word)));
  body.replaceChildren(...kept.slice(0, limit).map(element));
  more.hidden = kept.length <= limit;
  const drawn = more.hidden ? "" : `, ${limit} of them drawn`;
  hint();
  counted.textContent = `${kept.length} of ${runs.length} runs match${drawn}`;
}
headings.forEach((heading, column) => {
  const numeric = heading.classList.contains("number");
  const key = ({ texts }) => {
    if (!numeric) return texts[column].toLowerCase();
    const value = parseFloat(texts[column].replaceAll(",", ""));
    return Number.isNaN(value) ? Infinity : value;
  };
  heading.querySelector("button").addEventListener("click", () => {
    const turn = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    headings.forEach((each) => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", turn > 0 ? "ascending" : "descending");
    const keys = new Map(runs.map((run) => [run, key(run)]));
    runs.sort((a, b) => {
      const first = keys.get(a), second = keys.get(b);
      const missing = (first === Infinity) - (second === Infinity);
      if (missing) return missing;
      return (first < second ? -1 : first > second ? 1 : 0) * turn;
    });
    limit = batch;
    draw();
  });
});
words.addEventListener("input", draw);
status.addEventListener("change", draw);
more.addEventListener("click", () => { limit += batch; draw(); });
draw();
if (files["more runs"])
  unpacked("more runs").then((text) => {
    for (const [state, texts] of JSON.parse(text)) runs.push({ texts, state, words: lower(texts) });
    draw();
  });
