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

// Runs: sorted by a heading, filtered by words and status.
const runs = document.getElementById("run-table");
const headings = all("th", runs.tHead);
const sortable = (row, column) => {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.toLowerCase();
};
headings.forEach((heading, column) => {
  heading.querySelector("button").addEventListener("click", () => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    headings.forEach((each) => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = all("tr", runs.tBodies[0]);
    rows.sort((a, b) => {
      const [first, second] = [sortable(a, column), sortable(b, column)];
      const missing = (first === Infinity) - (second === Infinity);
      if (missing) return missing;
      return (first < second ? -1 : first > second ? 1 : 0) * (down ? -1 : 1);
    });
    runs.tBodies[0].append(...rows);
  });
});
const words = document.getElementById("run-words");
const status = document.getElementById("run-status");
function filter() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  const rows = all("tr", runs.tBodies[0]);
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const kept = wanted.every((word) => text.includes(word)) && (!status.value || row.dataset.status === status.value);
    row.hidden = !kept;
    count += kept;
  }
  document.getElementById("run-count").textContent = `${count} of ${rows.length} runs shown`;
}
words.addEventListener("input", filter);
status.addEventListener("change", filter);
filter();

// The files inside.
const files = JSON.parse(document.getElementById("files").textContent);
for (const link of all("a[data-file]")) {
  const contents = files[link.dataset.file];
  const text = typeof contents === "string" ? contents : JSON.stringify(contents, null, 2);
  const type = link.dataset.file.endsWith(".csv") ? "text/csv" : "application/json";
  link.href = URL.createObjectURL(new Blob([text], { type }));
}
