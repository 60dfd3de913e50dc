// The address says what is in view: #/layer/LAYER/unit/NET/17 and the like, then ?with=..., so it can be kept and sent.

/** @type {Place[]} */
const VIEWS = ["overview", "units", "matrix", "clusters", "figures", "words"];
let view = /** @type {View} */ (/** @type {unknown} */ (null)); // of `parsed`, as soon as the page is shown

const wide = () => matchMedia("(min-width: 60rem)").matches;

/** The view that the address asks for; what it does not say, or says wrongly, is filled in.
 * @param {string} hash
 * @returns {View}
 */
function parsed(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").map(read);
  const options = Object.fromEntries(new URLSearchParams(query));
  if (parts[0] !== "layer") return { ...standing(), options, place: VIEWS.find((name) => name === parts[0]) ?? "overview", of: parts[1] };
  const layer = Math.max(0, layers.indexOf(parts[1]));
  /** @type {Record<string, Place>} */
  const places = { unit: "units", units: "units", matrix: "matrix", clusters: "clusters" };
  const place = places[parts[2]] ?? "units";
  const a = parts[3] === "all" && !nets.includes("all") ? -1 : Math.max(0, nets.indexOf(parts[3]));
  if (place === "units") {
    const unit = parts[2] === "unit" && a >= 0 ? number(parts[4], dataOf(layer).units[a].width) : null;
    return { place, layer, a, b: partner(a, options.with), unit, cell: [], options };
  }
  const b = partner(Math.max(0, a), parts[4]);
  const cell = place === "matrix" ? [number(parts[5], dataOf(layer).units[Math.max(0, a)].width), number(parts[6], dataOf(layer).units[b].width)] : [];
  return { place, layer, a: Math.max(0, a), b, unit: null, cell: cell.filter((one) => one !== null).length === 2 ? /** @type {number[]} */ (cell) : [], options };
}

/** Layer and networks stay where they were while a view without them is shown. */
function standing() {
  return { layer: view?.layer ?? mostTelling(), a: Math.max(0, view?.a ?? 0), b: view?.b ?? 1, unit: null, cell: [] };
}

/** @param {string} part */
function read(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/**
 * @param {string | undefined} text
 * @param {number} below
 */
function number(text, below) {
  return /^\d{1,6}$/.test(text ?? "") && Number(text) < below ? Number(text) : null;
}

/**
 * @param {number} a
 * @param {string | undefined} [name]
 */
function partner(a, name) {
  const found = nets.indexOf(name ?? "");
  return found >= 0 && found !== a ? found : a === 0 ? 1 : 0;
}

/** The layer with the largest excess of those that are no logits. */
function mostTelling() {
  /** @type {(n: number) => number} */
  const value = (n) => (isOutput(n) ? -1 : averages.find((row) => row.layer === layers[n])?.before ?? averages.find((row) => row.layer === layers[n])?.after ?? -1);
  return layers.map((_, n) => n).reduce((best, n) => (value(n) > value(best) ? n : best), 0);
}

/** @param {Changes} next */
function address(next) {
  const { place, layer, a, b, unit, cell, options = {} } = { ...view, cell: [], ...next };
  /** @type {Record<string, (string | number)[]>} */
  const paths = { overview: [], figures: ["figures"], words: ["words"] };
  const parts = paths[place] ?? ["layer", layers[layer]];
  /** @type {Options} */
  const keep = {};
  if (place === "units") {
    parts.push(unit == null ? "units" : "unit", a < 0 ? "all" : nets[a], ...(unit == null ? [] : [unit]));
    for (const name of ["q", "show", "sort", "decay", "matched"]) if (options[name]) keep[name] = options[name];
    if (unit != null && b !== partner(a)) keep.with = nets[b];
    if (options.wall) keep.wall = options.wall;
  }
  if (place === "matrix") parts.push("matrix", nets[a], nets[b], ...(cell?.length ? cell : []));
  if (place === "matrix" && options.of) keep.of = options.of;
  if (place === "clusters") parts.push("clusters", nets[a], nets[b]);
  if (place === "clusters" && options.k) keep.k = options.k;
  const query = new URLSearchParams(keep).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${query ? `?${query}` : ""}`;
}

/** Show another view. ``quietly``: in the place of this one, so that Back leads past it.
 * @param {Changes} changes
 * @param {boolean} [quietly]
 */
function go(changes, quietly = false) {
  const next = address({ ...changes, options: { ...view.options, ...changes.options } });
  if (next === location.hash) return;
  if (quietly) history.replaceState(null, "", next);
  else history.pushState(null, "", next);
  show();
}
