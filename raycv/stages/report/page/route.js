// The address says what is in view: #/layer/LAYER/unit/NET/17 and the like, then ?with=..., so it can be kept and sent.

/** @type {Place[]} */
const VIEWS = ["overview", "units", "pairs", "groups", "matrix", "clusters", "figures", "words"];
let view = /** @type {View} */ (/** @type {unknown} */ (null)); // of `parsed`, as soon as the page is shown

const wide = () => matchMedia("(min-width: 60rem)").matches;

/** The view that the address asks for. What it does not say is filled in; what it says wrongly, too, and stands in ``wrong``.
 * @param {string} hash
 * @returns {View}
 */
function parsed(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").map(read);
  const options = Object.fromEntries(new URLSearchParams(query));
  /** @type {string[]} */
  const wrong = [];
  if (parts[0] !== "layer") {
    const place = VIEWS.find((name) => name === parts[0]);
    if (parts[0] && !place) wrong.push(`there is no view “${parts[0]}”`);
    return { ...standing(), options, place: place ?? "overview", of: parts[1], wrong };
  }
  const layer = named(layers, parts[1], "layer", 0, wrong);
  /** @type {Record<string, Place>} */
  const places = { unit: "units", units: "units", pairs: "pairs", groups: "groups", matrix: "matrix", clusters: "clusters" };
  if (parts[2] && !(parts[2] in places)) wrong.push(`there is no view “${parts[2]}” of a layer`);
  const place = places[parts[2]] ?? "units";
  const all = parts[3] === "all" && !nets.includes("all") && place === "units";
  const a = all ? -1 : named(nets, parts[3], "network", 0, wrong);
  const width = dataOf(layer).units[Math.max(0, a)].width;
  if (place === "units") {
    const asked = parts[2] === "unit" && a >= 0;
    const unit = asked ? number(parts[4], width, `${layers[layer]} of ${nets[a]}`, wrong) : null;
    return { place, layer, a, b: partner(a, options.with, wrong), unit, cell: [], options, wrong };
  }
  const b = partner(a, parts[4], wrong);
  const cells = ["matrix", "pairs"].includes(place) && parts[5] !== undefined;
  const cell = cells ? [[parts[5], a], [parts[6], b]].map(([text, net]) =>
    number(String(text), dataOf(layer).units[Number(net)].width, `${layers[layer]} of ${nets[Number(net)]}`, wrong)) : [];
  return { place, layer, a, b, unit: null, cell: cell.filter((one) => one !== null).length === 2 ? /** @type {number[]} */ (cell) : [], options, wrong };
}

/** The number of a name; ``rest`` where none is given, or one that is not there, which ``wrong`` then says.
 * @param {string[]} names
 * @param {string | undefined} name
 * @param {string} what
 * @param {number} rest
 * @param {string[]} wrong
 */
function named(names, name, what, rest, wrong) {
  const found = names.indexOf(name ?? "");
  if (name !== undefined && found < 0) wrong.push(`there is no ${what} “${name}”`);
  return found < 0 ? rest : found;
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

/** A unit's number; null, which ``wrong`` then says, where the layer has no such unit.
 * @param {string | undefined} text
 * @param {number} below
 * @param {string} where
 * @param {string[]} wrong
 */
function number(text, below, where, wrong) {
  const there = /^\d{1,6}$/.test(text ?? "") && Number(text) < below;
  if (!there) wrong.push(`${where} has units 0 to ${below - 1}, not “${text ?? ""}”`);
  return there ? Number(text) : null;
}

/** The second network of a pair.
 * @param {number} a
 * @param {string | undefined} [name]
 * @param {string[]} [wrong]
 */
function partner(a, name, wrong = []) {
  const found = nets.indexOf(name ?? "");
  if (name !== undefined && found < 0) wrong.push(`there is no network “${name}”`);
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
  if (place === "matrix") for (const name of ["of", "order"]) if (options[name]) keep[name] = options[name];
  if (place === "pairs") parts.push("pairs", nets[a], nets[b], ...(cell?.length ? cell : []));
  if (place === "pairs") for (const name of ["sort", "pairs"]) if (options[name]) keep[name] = options[name];
  if (place === "groups") parts.push("groups");
  if (place === "groups" && options.groups) keep.groups = options.groups;
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
