// All pairs of best partners of two networks in a layer, to be sorted, and the chosen one beside them.

/** @typedef {{ i: number, j: number, value: number, chance: number, excess: number, q: number, mutual: boolean, single: boolean }} Pair */
/** @type {Record<string, { label: string, of: (pair: Pair) => number, text: (pair: Pair) => string }>} */
const COLUMNS = {
  value: { label: "correlation", of: ({ value }) => value, text: ({ value }) => fixed(value) },
  chance: { label: "by chance", of: ({ chance }) => chance, text: ({ chance }) => fixed(chance) },
  excess: { label: "excess, mixed after", of: ({ excess }) => excess, text: ({ excess }) => signed(excess) },
  q: { label: "q", of: ({ q }) => q, text: ({ q }) => qText(q) },
  mutual: { label: "mutual", of: ({ mutual }) => Number(mutual), text: ({ mutual }) => (mutual ? "yes" : "no") },
  single: { label: "one to one", of: ({ single }) => Number(single), text: ({ single }) => (single ? "the same" : "another") },
  unit: { label: "unit", of: ({ i }) => -i, text: ({ i }) => String(i) },
};
/** @type {Record<string, { label: string, keep: (pair: Pair) => boolean }>} */
const KINDS = {
  all: { label: "all pairs", keep: () => true },
  partners: { label: "above chance", keep: ({ q }) => q <= run.false_discoveries },
  chance: { label: "not above chance", keep: ({ q }) => !(q <= run.false_discoveries) },
  mutual: { label: "mutual", keep: ({ mutual }) => mutual },
};
const ROWS = 200; // shown at once
let rowsShown = ROWS;
let listed = ""; // which list they are of

/** The pairs in view in their order; by falling values, or by rising ones where the name of the column has a minus.
 * @returns {Pair[]}
 */
function pairsInView() {
  const { layer, a, b, options } = view;
  const data = dataOf(layer);
  const [match, back, single] = [data.partners[a][b]["correlation semi"], data.partners[b][a]["correlation semi"], data.partners[a][b]["correlation bipartite"]];
  if (!match) return [];
  const pairs = [...match.unit.keys()].filter((i) => match.unit[i] >= 0).map((i) => ({
    i, j: match.unit[i], value: match.value[i], chance: match.chance?.[i] ?? NaN, excess: match.excess?.[i] ?? NaN, q: match.q?.[i] ?? NaN,
    mutual: back?.unit[match.unit[i]] === i, single: single?.unit[i] === match.unit[i],
  }));
  const name = options.sort ?? "value";
  const [column, sign] = [COLUMNS[name.replace("-", "")] ?? COLUMNS.value, name.startsWith("-") ? -1 : 1];
  return pairs.filter((KINDS[options.pairs] ?? KINDS.all).keep).sort((x, y) => {
    const [left, right] = [column.of(x), column.of(y)];
    return Number(Number.isNaN(left)) - Number(Number.isNaN(right)) || sign * (right - left) || x.i - y.i;
  });
}

function showPairs() {
  const { layer, a, b, options } = view;
  const data = dataOf(layer);
  /** @type {(changes: Changes) => void} */
  const choose = (changes) => go({ cell: [], ...changes });
  replace(at("pair-tools"),
    choice("Layer", numbered(layers), layer, (value) => choose({ layer: Number(value) })),
    choice("Network", numbered(nets), a, (value) => choose({ a: Number(value), b: Number(value) === b ? a : b })),
    choice("With", numbered(nets).filter(([n]) => n !== a), b, (value) => choose({ b: Number(value) })),
    choice("Show", Object.entries(KINDS).map(([name, { label }]) => [name, label]), options.pairs ?? "all", (value) => choose({ options: { pairs: value === "all" ? "" : value } })));
  const pairs = pairsInView();
  const list = JSON.stringify([layer, a, b, options.pairs, options.sort]);
  if (list !== listed) rowsShown = ROWS;
  listed = list;
  at("pair-count").textContent = `${counted(pairs.length, "unit")} of ${nets[a]} in ${layers[layer]}, each with its best partner in ${nets[b]}${options.pairs ? `: ${KINDS[options.pairs]?.label ?? ""}` : ""}.`;
  replace(at("pair-list"), pairTable(pairs));
  showChosenPair(data);
}

/** @param {Pair[]} pairs */
function pairTable(pairs) {
  const { layer, a, b, cell, options } = view;
  const current = options.sort ?? "value";
  const heads = Object.entries(COLUMNS).filter(([name]) => name !== "unit").map(([name, { label }]) => {
    const [down, up] = [current === name, current === `-${name}`];
    return element("th", { scope: "col", "aria-sort": down ? "descending" : up ? "ascending" : null },
      element("button", { type: "button", name: `sort-${name}`, class: "sort", onclick: () => go({ options: { sort: down ? `-${name}` : name } }) }, label, down ? " ↓" : up ? " ↑" : ""));
  });
  const rows = pairs.slice(0, rowsShown).map((pair) => {
    const here = cell[0] === pair.i && cell[1] === pair.j;
    const names = `${shortName(layer, pair.i)} – ${shortName(layer, pair.j)}`;
    return element("tr", { "aria-current": here ? "true" : null, "data-unit": pair.i },
      element("th", { scope: "row" }, element("a", { class: "two", href: address({ cell: [pair.i, pair.j] }) },
        hushed(portrait(layer, a, pair.i, 14)), hushed(portrait(layer, b, pair.j, 14)), element("b", {}, names))),
      ...Object.entries(COLUMNS).filter(([name]) => name !== "unit").map(([, { text }]) => element("td", {}, text(pair))));
  });
  const rest = pairs.length - rows.length;
  const more = () => {
    rowsShown += ROWS;
    showPairs();
  };
  return element("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "Pairs of units" },
    element("table", { class: "numbers pairs" }, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, `${nets[a]} – ${nets[b]}`), ...heads)), element("tbody", {}, ...rows)),
    rest > 0 && element("button", { type: "button", class: "more", name: "more", onclick: more }, `Show ${Math.min(rest, ROWS)} more of ${rest}`));
}

/** A picture that says nothing to a screen reader, as what it stands in is named. @type {(picture: HTMLElement | null) => HTMLElement | null} */
const hushed = (picture) => {
  picture?.removeAttribute("role");
  picture?.removeAttribute("aria-label");
  picture?.setAttribute("aria-hidden", "true");
  return picture;
};

/** @param {LayerData} data */
function showChosenPair(data) {
  const { layer, a, b, cell } = view;
  const open = cell.length === 2;
  document.body.classList.toggle("chosen", open);
  at("pair").hidden = !open;
  if (!open) return;
  replace(at("pair"), heading(`In ${layers[layer]}`, "Pair", { cell: [] }), pairParts(data, { net: a, unit: cell[0] }, { net: b, unit: cell[1] }));
  at("pair").scrollTop = 0;
}

/** @returns {Cell[][]} */
function pairsSheet() {
  const { layer, a, b } = view;
  return [["layer", "net_a", "net_b", "unit_a", "unit_b", "correlation", "by_chance", "excess_mixed_after", "q", "mutual", "one_to_one_same"],
    ...pairsInView().map(({ i, j, value, chance, excess, q, mutual, single }) => [layers[layer], nets[a], nets[b], i, j, value, chance, excess, q, String(mutual), String(single)])];
}
