// Units that all networks have: one of each, all mutual best partners; and units that no other network has.

/** @typedef {{ number: number, units: number[], weakest: number, between: [number, number], mean: number, excess: number }} Recurring */
/** @type {Record<string, { label: string, of: (group: Recurring) => number }>} */
const ORDERS = {
  weakest: { label: "weakest link", of: ({ weakest }) => weakest },
  mean: { label: "mean correlation", of: ({ mean }) => mean },
  excess: { label: "mean excess, mixed after", of: ({ excess }) => excess },
};
const ALONE = 48; // units shown of a network

/** The recurring groups of a layer: the units of the networks shown.
 * @param {LayerData} data
 * @returns {Recurring[]}
 */
function recurringGroups(data) {
  /** @type {Map<number, number[]>} */
  const found = new Map();
  (data.recurrence ?? []).forEach(({ group }, net) => group.forEach((number, unit) => {
    if (number >= 0) found.set(number, Object.assign(found.get(number) ?? [], { [net]: unit }));
  }));
  return [...found].map(([number, units]) => {
    const links = units.flatMap((unit, a) => units.flatMap((_, b) => (a < b ? [{ a, b, value: data.partners[a][b]["correlation semi"]?.value[unit] ?? NaN }] : [])));
    const weakest = links.reduce((least, link) => (link.value < least.value ? link : least), links[0]);
    /** @type {(values: number[]) => number} */
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
    return { number, units, weakest: weakest.value, between: /** @type {[number, number]} */ ([weakest.a, weakest.b]),
      mean: mean(links.map(({ value }) => value)), excess: mean(units.map((unit, net) => excessOf(data, net, unit))) };
  });
}

/** @returns {Recurring[]} */
function groupsInView() {
  const { of } = ORDERS[view.options.groups] ?? ORDERS.weakest;
  return recurringGroups(dataOf(view.layer)).sort((x, y) => of(y) - of(x) || x.number - y.number);
}

/** Units without a partner in any other network, by network.
 * @param {LayerData} data
 */
const unitsAlone = (data) => nets.map((_, net) => [...Array(data.units[net].width).keys()].filter((unit) => FILTERS.alone.keep(data, net, unit)));

function showGroups() {
  const { layer, options } = view;
  const data = dataOf(layer);
  replace(at("group-tools"),
    choice("Layer", numbered(layers), layer, (value) => go({ layer: Number(value) })),
    choice("Sort by", Object.entries(ORDERS).map(([name, { label }]) => [name, label]), options.groups ?? "weakest", (value) => go({ options: { groups: value === "weakest" ? "" : value } })));
  if (!data.recurrence) {
    at("group-count").textContent = "This run does not say yet which units recur; the overview says what makes it.";
    return at("recurring").replaceChildren();
  }
  const groups = groupsInView();
  at("group-count").textContent = `${counted(groups.length, "recurring group")} in ${layers[layer]}: one unit of each of ${counted(everyone.length, "network")}, all best partners of one another. Weakest link: the lowest correlation of two of them.`;
  replace(at("recurring"), ...groups.map(groupCard), !groups.length && element("p", { class: "nothing" }, "No unit of this layer is in such a group."));
  replace(at("alone"), ...aloneParts(data));
  return undefined;
}

/** @param {Recurring} group */
function groupCard({ number, units, weakest, between: [a, b], mean, excess }) {
  const link = address({ place: "pairs", a, b, cell: [units[a], units[b]], options: {} });
  return element("article", { class: "card group", "data-group": number },
    element("div", { class: "row" }, element("h3", {}, `Group ${number}`),
      element("p", { class: "quiet" }, "weakest link ", element("a", { href: link }, `${fixed(weakest, 2)} (${nets[a]}–${nets[b]})`), ` · mean ${fixed(mean, 2)} · excess, mixed after ${signed(excess, 2)}`)),
    element("ul", { class: "members" }, ...units.map((unit, net) => member(view.layer, net, unit, nets[net]))));
}

/**
 * @param {LayerData} data
 * @returns {Child[]}
 */
function aloneParts(data) {
  const { layer } = view;
  const alone = unitsAlone(data);
  const count = alone.reduce((sum, units) => sum + units.length, 0);
  const all = nets.reduce((sum, _, net) => sum + data.units[net].width, 0);
  return [
    element("h3", {}, `Units without a partner in any other network: ${count} of ${all}`),
    element("p", { class: "quiet" }, `At a false discovery rate of ${percent(run.false_discoveries)} for each pair of networks; dead and rare units are not counted. The share of units that have a partner, on the first page, is another number: a mean over pairs of networks, each taken by itself.`),
    ...alone.map((units, net) => units.length > 0 && element("div", { class: "side" }, element("h4", {}, `${nets[net]}: ${units.length}`),
      element("ul", { class: "members" }, ...units.slice(0, ALONE).map((unit) => member(layer, net, unit, signed(excessOf(data, net, unit), 2)))),
      units.length > ALONE && element("p", {}, element("a", { href: address({ place: "units", a: net, unit: null, options: { show: "alone" } }) }, `All ${units.length}`)))),
  ];
}

/** @returns {Cell[][]} */
function groupsSheet() {
  return [["layer", "group", ...nets, "weakest_link", "mean_correlation", "mean_excess_mixed_after"],
    ...groupsInView().map(({ number, units, weakest, mean, excess }) => [layers[view.layer], number, ...units, weakest, mean, excess])];
}
