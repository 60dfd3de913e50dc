// The part of the page that answers to the reader: units of one network and their partners in another.
// All text that comes from the run is set as text, never as markup.
"use strict";

const ROWS = 100; // of the table at a time
const MEMBERS = 6; // of a cluster shown with pictures, for each network
const CELL = 48; // pixels of a patch on the page's canvas
const PARTNERS = [
  ["correlation semi", "best partner by correlation", ""],
  ["correlation bipartite", "one-to-one partner by correlation", ""],
  ["mutual_information semi", "best partner by mutual information", " nats"],
  ["mutual_information bipartite", "one-to-one partner by mutual information", " nats"],
];

const at = (id) => document.getElementById(id);
const json = (id) => JSON.parse(at(id).textContent);
const { nets, layers, pictured } = json("run");

/** The array behind KIND:BASE64, little-endian. */
function unpacked(text) {
  const [kind, content] = text.split(":");
  const bytes = bytesOf(content);
  return new { f4: Float32Array, i2: Int16Array, i4: Int32Array }[kind](bytes.buffer);
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** Every packed array of a nested object, unpacked. */
function unpackAll(value) {
  if (typeof value === "string" && /^(f4|i2|i4):/.test(value)) return unpacked(value);
  if (Array.isArray(value)) return value.map(unpackAll);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unpackAll(inner)]));
  }
  return value;
}

/** The data of a layer; only the layer in view is kept. */
let held = { layer: -1, data: null, sheets: new Map() };
function dataOf(layer) {
  if (held.layer !== layer) held = { layer, data: unpackAll(json(`layer-${layer}`)), sheets: new Map() };
  return held.data;
}

// -- what is chosen: it stands in the address ------------------------------------------------------------------

let view = null; // {layer, a, b, unit, decay, k}, numbers all
let sorting = { key: "correlation semi value", descending: true };
let page = 0;
let order = [];
let columns = [];

/** The view that the address asks for; what it does not say, or says wrongly, is filled in. */
function asked() {
  const given = new URLSearchParams(location.hash.slice(1));
  const number = (name) => (/^\d+(\.\d+)?(e-?\d+)?$/.test(given.get(name) ?? "") ? Number(given.get(name)) : null);
  const layer = Math.max(0, layers.indexOf(given.get("layer")));
  const a = Math.max(0, nets.indexOf(given.get("a")));
  let b = nets.indexOf(given.get("b"));
  if (b < 0 || b === a) b = a === 0 ? 1 : 0;
  const data = dataOf(layer);
  const unit = number("unit");
  const known = Number.isInteger(unit) && unit < data.units[a].width;
  const decays = data.predictors?.[a][b] ?? [];
  const clusterings = data.clusters?.[a][b] ?? [];
  const decay = decays.find((entry) => entry.decay === number("decay")) ?? decays[0];
  const clustering = clusterings.find((entry) => entry.k === number("k")) ?? clusterings[0];
  return { layer, a, b, unit: known ? unit : best(data, a, b), decay: decay?.decay ?? null, k: clustering?.k ?? null };
}

/** The unit with the most correlated partner. */
function best(data, a, b) {
  const values = data.partners[a][b]["correlation semi"].value;
  return values.reduce((top, value, unit) => (value > values[top] || Number.isNaN(values[top]) ? unit : top), 0);
}

function address(choice) {
  const said = new URLSearchParams({
    layer: layers[choice.layer], a: nets[choice.a], b: nets[choice.b], unit: choice.unit,
  });
  if (choice.decay !== null) said.set("decay", choice.decay);
  if (choice.k !== null) said.set("k", choice.k);
  return `#${said}`;
}

function choose(changes) {
  location.hash = address({ ...view, ...changes });
  show();
}

/** Bring the page in line with the address. */
function show() {
  if (view && !new URLSearchParams(location.hash.slice(1)).has("layer")) return; // a link within the page
  const next = asked();
  const same = (...names) => view && names.every((name) => view[name] === next[name]);
  const [rows, all] = [same("layer", "a", "b", "decay", "k"), same("layer", "a", "b", "decay", "k", "unit")];
  view = next;
  if (all) return;
  if (!rows) {
    controls();
    columns = columnsOf(dataOf(view.layer));
    sort();
  }
  turnTo(Math.max(0, Math.floor(order.indexOf(view.unit) / ROWS)), rows);
  mark();
  detail();
}

// -- controls ----------------------------------------------------------------------------------------------------

function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, label]) => new Option(label, value, false, String(value) === String(chosen))));
}

function controls() {
  const data = dataOf(view.layer);
  options(at("layer"), layers.map((name, n) => [n, name]), view.layer);
  options(at("net-a"), nets.map((name, n) => [n, name]), view.a);
  options(at("net-b"), nets.map((name, n) => [n, name]).filter(([n]) => n !== view.a), view.b);
  const decays = data.predictors?.[view.a][view.b] ?? [];
  const rising = decays.map(({ decay }) => decay).sort((x, y) => x - y);
  options(at("decay"), rising.map((decay) => [decay, decayName(decay)]), view.decay);
  at("decay-label").hidden = decays.length < 2;
  const clusterings = data.clusters?.[view.a][view.b] ?? [];
  options(at("k"), clusterings.map(({ k }) => [k, k]), view.k);
  at("k-label").hidden = clusterings.length < 2;
  at("recurring-label").hidden = !data.recurrence;
  at("find").max = data.units[view.a].width - 1;
}

function decayName(decay) {
  const papers = Math.abs(Math.log10(decay) + 2.6) < 0.005 ? " (the paper's)" : "";
  return `${Number(decay.toPrecision(2))}${papers}`;
}

// -- the table of units ------------------------------------------------------------------------------------------

const fixed = (value, digits = 3) => (Number.isNaN(value) ? "–" : value.toFixed(digits));
const signed = (value) => (value > 0 ? `+${fixed(value)}` : fixed(value));
const others = (count) => `${count} of ${nets.length - 1}`;
const numbered = (value) => (value < 0 ? "–" : String(value));

const decayed = (data) => data.predictors?.[view.a][view.b].find((entry) => entry.decay === view.decay);
const clustered = (data) => data.clusters?.[view.a][view.b].find((entry) => entry.k === view.k);

/** The columns that this layer has values for: {group, key, label, values, text}. */
function columnsOf(data) {
  const units = data.units[view.a];
  const partners = data.partners[view.a][view.b];
  const percent = (value) => `${(100 * value).toFixed(1)}%`;
  const found = [
    { group: "", key: "unit", label: "unit", values: Int32Array.from(units.mean, (_, unit) => unit), text: String },
  ];
  const groups = ["best partner", "one-to-one partner", "best by mutual information"];
  for (const [place, group] of groups.entries()) {
    const kind = PARTNERS[place][0];
    if (!(kind in partners)) continue;
    const label = place < 2 ? "correlation" : "nats";
    found.push({ group, key: `${kind} unit`, label: "unit", values: partners[kind].unit, text: numbered });
    found.push({ group, key: `${kind} value`, label, values: partners[kind].value, text: fixed });
    if (place === 0) found.push({ group, key: "excess", label: "over chance", values: partners[kind].excess, text: signed });
  }
  const recurring = data.recurrence?.[view.a].partners;
  if (recurring) found.push({ group: "", key: "partners", label: "recurs in", values: recurring, text: others });
  const predicted = decayed(data);
  if (predicted) {
    const group = `predicted from ${nets[view.b]}`;
    found.push({ group, key: "r2", label: "R²", values: predicted.r2, text: fixed });
    found.push({ group, key: "used", label: "units used", values: predicted.used, text: String });
  }
  const clusters = clustered(data);
  if (clusters) found.push({ group: "", key: "cluster", label: "cluster", values: clusters.a, text: numbered });
  const group = "activation";
  found.push({ group, key: "mean", label: "mean", values: units.mean, text: fixed });
  found.push({ group, key: "std", label: "spread", values: units.std, text: fixed });
  found.push({ group, key: "active", label: "active in", values: units.active_fraction, text: percent });
  return found;
}

/** Units without a value come last, whichever way the others are sorted. */
function sort() {
  const column = columns.find(({ key }) => key === sorting.key) ?? columns[0];
  const empty = (unit) => Number.isNaN(column.values[unit]) || (column.text === numbered && column.values[unit] < 0);
  const sign = sorting.descending ? -1 : 1;
  order = Array.from(columns[0].values).filter(wanted).sort((x, y) => {
    if (empty(x) || empty(y)) return empty(x) - empty(y) || x - y;
    return sign * (column.values[x] - column.values[y]) || x - y;
  });
}

/** Whether the reader wants to see a unit: all, or those with a partner beyond chance in every other network. */
function wanted(unit) {
  const recurring = dataOf(view.layer).recurrence?.[view.a].partners;
  return !recurring || !at("recurring").checked || recurring[unit] === nets.length - 1;
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function heads() {
  const groups = [];
  for (const column of columns) {
    if (column.group && groups.at(-1)?.name === column.group) groups.at(-1).count += 1;
    else groups.push({ name: column.group, count: 1 });
  }
  const upper = groups.map(({ name, count }) =>
    name ? element("th", { scope: "colgroup", colspan: count, class: "starts" }, name) : element("td"),
  );
  const lower = columns.map((column, n) => {
    const button = element("button", { type: "button" }, column.label);
    button.addEventListener("click", () => sortBy(column.key));
    const head = element("th", { scope: "col", "data-key": column.key }, button);
    if (n && column.group !== columns[n - 1].group) head.classList.add("starts");
    head.setAttribute("aria-sort", column.key !== sorting.key ? "none" : sorting.descending ? "descending" : "ascending");
    return head;
  });
  at("table").tHead.replaceChildren(element("tr", {}, ...upper), element("tr", {}, ...lower));
}

function sortBy(key) {
  const natural = !["unit", "cluster"].includes(key) && !key.endsWith(" unit"); // values: the largest first
  sorting = { key, descending: sorting.key === key ? !sorting.descending : natural };
  sort();
  turnTo(0);
  at("table").tHead.querySelector(`[data-key="${key}"] button`).focus();
}

/** Show a page of the table; ``kept``: the rows have not changed, so another page is all that could differ. */
function turnTo(number, kept = false) {
  if (kept && number === page) return;
  const hadFocus = at("table").tBodies[0].contains(document.activeElement);
  page = number;
  const units = order.slice(page * ROWS, (page + 1) * ROWS);
  const rows = units.map((unit) => {
    const cells = columns.slice(1).map((column, n) => {
      const cell = element("td", {}, column.text(column.values[unit]));
      if (column.group !== columns[n].group) cell.classList.add("starts");
      return cell;
    });
    const button = element("button", { type: "button", tabindex: -1 }, String(unit));
    return element("tr", { "data-unit": unit }, element("th", { scope: "row" }, button), ...cells);
  });
  heads();
  at("table-caption").textContent = `Units of ${nets[view.a]} in ${layers[view.layer]}, with their partners in ${nets[view.b]}`;
  at("table").tBodies[0].replaceChildren(...rows);
  at("range").textContent = `rows ${page * ROWS + 1}–${page * ROWS + units.length} of ${order.length}`;
  if (!order.length) at("status").textContent = `No unit of ${nets[view.a]} in ${layers[view.layer]} recurs in all networks.`;
  at("previous").disabled = page === 0;
  at("next").disabled = (page + 1) * ROWS >= order.length;
  at("previous").parentElement.hidden = order.length <= ROWS;
  mark();
  if (hadFocus) at("table").querySelector("tbody [tabindex='0']")?.focus();
}

/** Mark the row of the unit in view; it is the one that Tab stops at. */
function mark() {
  const body = at("table").tBodies[0];
  for (const row of body.rows) {
    const here = Number(row.dataset.unit) === view.unit;
    row.toggleAttribute("aria-current", here);
    if (here) row.setAttribute("aria-current", "true");
    row.querySelector("button").tabIndex = here ? 0 : -1;
  }
  if (body.rows.length && !body.querySelector("[tabindex='0']")) body.querySelector("button").tabIndex = 0;
  reveal(body.querySelector("[aria-current]"));
}

/** Scroll the table, and not the page, until the row is in sight. */
function reveal(row) {
  if (!row) return;
  const frame = at("table").parentElement;
  const [seen, head] = [frame.getBoundingClientRect(), at("table").tHead.getBoundingClientRect().height];
  const { top, bottom } = row.getBoundingClientRect();
  if (top < seen.top + head) frame.scrollTop -= seen.top + head - top;
  else if (bottom > seen.bottom) frame.scrollTop += bottom - seen.bottom;
}

// -- one unit and its partners ------------------------------------------------------------------------------------

function detail() {
  const data = dataOf(view.layer);
  const { a, b, unit } = view;
  const units = data.units[a];
  const facts = [
    `activation ${fixed(units.mean[unit])} on average, spread ${fixed(units.std[unit])}`,
    `active in ${(100 * units.active_fraction[unit]).toFixed(1)}% of samples`,
  ];
  if (units.dead[unit]) facts.push("dead or rare: it hardly ever varies, so it has no partner");
  const recurring = data.recurrence?.[a].partners;
  if (recurring) facts.push(`a partner beyond chance in ${others(recurring[unit])} other networks`);
  const followed = at("matches").contains(document.activeElement); // a link that is about to go
  at("chosen").replaceChildren(element("h3", { tabindex: -1 }, `In ${nets[a]}, ${layers[view.layer]}`), card(a, unit, facts));
  at("matches").replaceChildren(
    element("h3", {}, `In ${nets[b]}`), ...partnersOf(data), ...predictorsOf(data), ...membersOf(data),
  );
  if (followed) at("chosen").querySelector("h3").focus();
  at("pictures").textContent = aboutPictures(data.pictures);
  at("status").textContent = sentence(data.partners[a][b]["correlation semi"]);
}

function sentence(semi) {
  const partner = semi.unit[view.unit];
  const start = `Unit ${view.unit} of ${nets[view.a]}: `;
  if (partner < 0) return `${start}no partner in ${nets[view.b]}.`;
  return `${start}its best partner in ${nets[view.b]} is unit ${partner}, correlation ${fixed(semi.value[view.unit])}.`;
}

function aboutPictures(pictures) {
  if (!pictures && pictured) return "To keep this file small, the patches of this wide layer are left out.";
  if (!pictures) return "This report has no pictures of patches yet; the summary says what makes them.";
  const fewer = pictures.ranks < 9 ? ` To keep this file small, ${pictures.ranks} of the nine are shown in this layer.` : "";
  return `Pictures, upper row: the patches that drive the unit most, the strongest first. Lower row: what in them drives it (${pictures.method}).${fewer}`;
}

/** One card for each unit that any of the matchings chose, with all that chose it. */
function partnersOf(data) {
  const chosen = new Map();
  for (const [kind, label, suffix] of PARTNERS) {
    const found = data.partners[view.a][view.b][kind];
    const partner = found?.unit[view.unit] ?? -1;
    if (partner < 0) continue;
    if (!chosen.has(partner)) chosen.set(partner, []);
    chosen.get(partner).push(`${label}: ${fixed(found.value[view.unit])}${suffix}`);
  }
  const cards = [...chosen].map(([partner, facts]) => card(view.b, partner, facts));
  return part("Matched to it", cards.length ? "" : "No unit: it has no partner.", cards);
}

function predictorsOf(data) {
  const found = decayed(data);
  if (!found) return [];
  const size = found.unit.length / found.r2.length;
  const cards = [];
  for (let place = view.unit * size; place < (view.unit + 1) * size; place += 1) {
    if (found.unit[place] >= 0) cards.push(card(view.b, found.unit[place], [`weight: ${fixed(found.weight[place])}`]));
  }
  const used = found.used[view.unit];
  const few = cards.length < used ? `; the ${cards.length} of largest weight are shown` : "";
  const r2 = fixed(found.r2[view.unit]);
  return part("Predicting it (mapping layer)", `R² ${r2} on images not used to find the weights, with ${used} units${few}.`, cards);
}

function membersOf(data) {
  const found = clustered(data);
  if (!found) return [];
  const cluster = found.a[view.unit];
  if (cluster < 0) return part("In its cluster", "It is in none: no correlation with another unit is large enough.", []);
  const both = [[view.a, found.a], [view.b, found.b]].map(([net, labels]) => [net, indices(labels, cluster)]);
  const counts = both.map(([net, units]) => `${units.length} of ${nets[net]}`).join(" and ");
  const text = `Cluster ${cluster} has ${counts}; mean correlation ${fixed(found.between[cluster])} between the networks, ${fixed(found.within[cluster])} within.`;
  const cards = [...both].reverse().flatMap(([net, units]) =>
    units.filter((unit) => net !== view.a || unit !== view.unit).slice(0, MEMBERS).map((unit) => card(net, unit, [])),
  );
  return part("In its cluster", text, cards);
}

function indices(labels, wanted) {
  return [...labels.keys()].filter((unit) => labels[unit] === wanted);
}

function part(title, text, cards) {
  const made = [element("h4", {}, title)];
  if (text) made.push(element("p", {}, text));
  return [...made, element("div", { class: "cards" }, ...cards)];
}

/** A unit with its pictures. Its name leads to its own partners. */
function card(net, unit, facts) {
  const here = net === view.a && unit === view.unit;
  const name = `unit ${unit} of ${nets[net]}`;
  const href = address({ ...view, a: net, b: net === view.a ? view.b : view.a, unit });
  const head = element("h5", {}, here ? name : element("a", { href }, name));
  const list = element("ul", {}, ...facts.map((fact) => element("li", {}, fact)));
  const made = element("article", { class: "card", "data-net": nets[net], "data-unit": unit }, head, list);
  const pictures = dataOf(view.layer).pictures;
  if (pictures) made.append(strip(pictures, view.layer, net, unit, name));
  return made;
}

// -- pictures ------------------------------------------------------------------------------------------------------

function strip(pictures, layer, net, unit, name) {
  const gap = 2;
  const canvas = element("canvas", {
    role: "img", width: pictures.ranks * (CELL + gap) - gap, height: 2 * CELL + gap,
    "aria-label": `The ${pictures.ranks} patches that drive ${name} most, and what in them drives it`,
  });
  const drawing = canvas.getContext("2d");
  drawing.imageSmoothingEnabled = false;
  for (const [row, kind] of ["patches", "drives"].entries()) {
    const { columns: across, per_sheet: perSheet, index } = pictures[kind];
    for (let rank = 0; rank < pictures.ranks; rank += 1) {
      const tile = index[net][unit * pictures.ranks + rank];
      if (tile < 0) continue;
      const place = tile % perSheet;
      const size = pictures.tile;
      sheet(kind, layer, Math.floor(tile / perSheet)).then((source) => {
        const [left, top] = [(place % across) * size, Math.floor(place / across) * size];
        drawing.drawImage(source, left, top, size, size, rank * (CELL + gap), row * (CELL + gap), CELL, CELL);
        canvas.dataset.drawn = Number(canvas.dataset.drawn ?? 0) + 1;
      });
    }
  }
  return canvas;
}

/** A sheet of pictures, decoded when the first of them is drawn. */
function sheet(kind, layer, number) {
  const id = `${kind}-${layer}-${number}`;
  if (!held.sheets.has(id)) {
    held.sheets.set(id, createImageBitmap(new Blob([bytesOf(at(id).textContent)], { type: "image/webp" })));
  }
  return held.sheets.get(id);
}

// -- what the reader does ------------------------------------------------------------------------------------------

at("layer").addEventListener("change", (event) => choose({ layer: Number(event.target.value), unit: "" }));
at("net-a").addEventListener("change", (event) => {
  const a = Number(event.target.value);
  choose({ a, b: a === view.b ? view.a : view.b, unit: "" });
});
at("net-b").addEventListener("change", (event) => choose({ b: Number(event.target.value) }));
at("decay").addEventListener("change", (event) => choose({ decay: Number(event.target.value) }));
at("k").addEventListener("change", (event) => choose({ k: Number(event.target.value) }));
at("choice").addEventListener("submit", (event) => {
  event.preventDefault();
  const unit = at("find").valueAsNumber;
  const { width } = dataOf(view.layer).units[view.a];
  if (Number.isInteger(unit) && unit >= 0 && unit < width) choose({ unit });
  else at("status").textContent = `There is no such unit; ${nets[view.a]} has units 0 to ${width - 1} in ${layers[view.layer]}.`;
});
at("recurring").addEventListener("change", () => {
  sort();
  turnTo(0);
});
at("previous").addEventListener("click", () => turnTo(page - 1));
at("next").addEventListener("click", () => turnTo(page + 1));
at("table").tBodies[0].addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (row) choose({ unit: Number(row.dataset.unit) });
});
at("table").tBodies[0].addEventListener("keydown", (event) => {
  const rows = [...at("table").tBodies[0].rows];
  const here = rows.indexOf(event.target.closest("tr"));
  const target = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: rows.length - 1 }[event.key];
  if (target === undefined) return;
  event.preventDefault();
  rows[Math.max(0, Math.min(rows.length - 1, target))].querySelector("button").focus();
});
addEventListener("hashchange", show);
show();
