"use strict";
const page = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// Has a screen reader say a text, also if it is the same one again.
function announce(text) {
  byId("status").textContent = "";
  setTimeout(() => { byId("status").textContent = text; }, 50);
}

// An element with attributes and children; text is never read as HTML.
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") made.style.setProperty("--share", value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
function table(caption, heads, rows, kind, owner = "") {
  const name = owner ? `${caption}: ${owner}` : caption;
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map(([first, ...cells]) => element("tr", {}, element("th", { scope: "row" }, first),
    ...cells.map((cell) => (cell instanceof Node ? cell : element("td", {}, String(cell))))));
  const made = element("table", { class: kind, "aria-label": name }, element("thead", {}, head),
    element("tbody", {}, ...body));
  return element("div", {}, element("p", { class: "caption" }, caption),
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, made));
}

// The leaderboard: sorting by a column, and unfolding the runs of a setting.
for (const button of document.querySelectorAll(".sortable thead button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, place = [...head.parentElement.children].indexOf(head);
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (body) => body.rows[0].cells[place].dataset.value;
    const order = (one, other) => value(one).localeCompare(value(other), "en", { numeric: true });
    const amount = (one, other) => value(one) - value(other);
    const numbers = [...byId("settings").tBodies].every((body) => value(body) !== "" && !isNaN(value(body)));
    const sorted = [...byId("settings").tBodies].sort(numbers ? amount : order);
    byId("settings").append(...(up ? sorted : sorted.reverse()));
  });
}
for (const button of document.querySelectorAll(".unfold")) {
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", open);
    byId(button.getAttribute("aria-controls")).hidden = !open;
  });
}
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const command = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(command.textContent);
      announce(button.textContent = "copied");
    } catch {  // a frame or an address where the browser gives no clipboard
      getSelection().selectAllChildren(command);
      announce(button.textContent = "selected");
    }
  });
}

// Two runs side by side.
const nameOf = (run, number) => run.names[number] ?? String(number);
function matrix(run, rates, owner) {
  const sums = run.counts.map((row) => row.reduce((sum, count) => sum + count, 0));
  const errors = run.counts.flatMap((row, actual) => row.filter((_, predicted) => predicted !== actual));
  const most = Math.max(1, ...errors);
  const rows = run.counts.map((row, actual) => [nameOf(run, actual), ...row.map((count, predicted) => {
    const right = actual === predicted, share = sums[actual] ? count / sums[actual] : 0;
    const text = count === 0 ? "" : rates ? (100 * share).toFixed(right ? 1 : 2) : String(count);
    return element("td", right ? { class: "right" } : { class: "error", style: count / most }, text);
  })]);
  const unit = rates ? "percent of the actual class" : "test images";
  const heads = ["actual ↓ predicted →", ...run.counts.map((_, number) => nameOf(run, number))];
  return table(`Confusion matrix, ${unit}; the redder a cell, the more images were mistaken`, heads, rows, "heat matrix", owner);
}
function classes(run, owner) {
  const rows = run.classes.map(([images, ...scores], number) =>
    [nameOf(run, number), images, ...scores.map((score) => score.toFixed(4))]);
  const mean = [1, 2, 3].map((column) => run.classes.reduce((sum, row) => sum + row[column], 0) / run.classes.length);
  rows.push(["mean", run.test_images, ...mean.map((score) => score.toFixed(4))]);
  return table("Precision, recall and F1 by class", ["class", "images", "precision", "recall", "F1"], rows, "classes", owner);
}
function mistakes(run) {
  const shown = run.mistakes.map(([index, actual, predicted, probability]) => {
    const text = `${nameOf(run, actual)} taken for ${nameOf(run, predicted)}`;
    const source = `data:image/png;base64,${page.images[`${run.data}:${index}`]}`;
    return element("li", {}, element("img", { src: source, alt: `test image ${index}` }),
      element("br", {}), text, element("br", {}), `${(100 * probability).toFixed(1)} % sure`);
  });
  return [element("h3", {}, "Most confident mistakes"), shown.length
    ? element("ul", { class: "mistakes" }, ...shown)
    : element("p", { class: "note" }, "None are kept in this page.")];
}
function show(side, run, rates) {  // side: A or B
  const parts = [element("h3", {}, run.label)];
  if (run.counts) parts.push(matrix(run, rates, side), classes(run, side));
  else parts.push(element("p", { class: "note" }, `${run.folder} has no readable confusion_matrix.csv.`));
  byId(`side-${side}`).replaceChildren(...parts, ...mistakes(run));
}
function firstDifference(one, other) {
  const last = Math.min(one.history.length, other.history.length);
  const differs = (row, place) => row.some((value, column) => value !== other.history[place][column]);
  const first = one.history.slice(0, last).findIndex(differs);
  if (first === 0) return "The two differ from the first epoch on.";
  if (first > 0) return `The two are equal up to epoch ${first} and differ from epoch ${first + 1} on.`;
  if (one.weights === other.weights) return "The two have the same history and the same weights.";
  return one.history.length === other.history.length
    ? "The two have the same history but not the same weights."
    : `The two are equal in ${last === 1 ? "the one epoch" : `all ${last} epochs`} that both have.`;
}
function byImage(one, other) {
  if (one.data !== other.data || !one.wrong || !other.wrong || one.test_images !== other.test_images) return [];
  const indices = new Set([...Object.keys(one.wrong), ...Object.keys(other.wrong)]);
  let onlyA = 0, onlyB = 0, both = 0;
  for (const index of indices) {
    if (!(index in one.wrong)) onlyA += 1;
    else if (!(index in other.wrong)) onlyB += 1;
    else both += 1;
  }
  const rows = [["both right", one.test_images - indices.size], ["only A right", onlyA], ["only B right", onlyB],
    ["both wrong", both]];
  return [table("Test images", ["result", "images"], rows, "")];
}
function compare(one, other) {
  const rows = page.keys.map((key, place) => [key, one.parameters[place], other.parameters[place]])
    .filter(([, a, b]) => a !== b);
  if (one.commit !== other.commit) rows.push(["git commit", one.commit ?? "", other.commit ?? ""]);
  const metrics = Object.keys(one.metrics).filter((name) => name in other.metrics).map((name) => {
    const change = other.metrics[name] - one.metrics[name], digits = name === "best_epoch" ? 0 : 4;
    return [name, one.metrics[name].toFixed(digits), other.metrics[name].toFixed(digits),
      (change > 0 ? "+" : "") + change.toFixed(digits)];
  });
  const heads = ["A", "B"];
  const settings = rows.length ? table("What A and B differ in", ["parameter", ...heads], rows, "values")
    : element("p", { class: "note" }, "A and B have the same parameters.");
  const sides = element("div", { class: "sides" }, table("Metrics", ["metric", ...heads, "B − A"], metrics, ""),
    element("div", {}, ...byImage(one, other)));
  byId("difference").replaceChildren(element("p", {}, firstDifference(one, other)), settings, sides);
}
function update() {
  const rates = document.querySelector("input[name=form]:checked").value === "rates";
  const [one, other] = ["A", "B"].map((side) => byId(`run-${side}`) && page.runs[byId(`run-${side}`).value]);
  show("A", one, rates);
  if (other) {
    show("B", other, rates);
    compare(one, other);
  }
}
byId("choice").hidden = false;
byId("choice").addEventListener("change", (event) => {
  update();
  if (event.target.tagName === "SELECT" && byId("run-B")) announce(byId("difference").firstElementChild.textContent);
});
// At first the best run beside the one of another setting that differs in the fewest parameters, of equals the better one.
function nearest() {
  const [first, ...others] = page.runs;
  const distance = (run) => run.parameters.filter((value, place) => value !== first.parameters[place]).length;
  const candidates = others.some((run) => run.setting !== first.setting)
    ? others.filter((run) => run.setting !== first.setting) : others;
  return page.runs.indexOf(candidates.reduce((one, other) => (distance(other) < distance(one) ? other : one)));
}
if (byId("run-B")) byId("run-B").value = String(nearest());
update();
