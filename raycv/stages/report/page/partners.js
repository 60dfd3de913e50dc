// What the other networks have for the chosen unit: its partners, what predicts it, and its cluster.

/** @type {Record<string, { label: string, value: string }>} */
const MATCHED = {
  "correlation semi": { label: "best partner", value: "correlation" },
  "correlation bipartite": { label: "one to one", value: "correlation" },
  "mutual_information semi": { label: "by mutual information", value: "nats" },
  "mutual_information bipartite": { label: "one to one, by mutual information", value: "nats" },
};
const MEMBERS = 12; // of a cluster, shown of each network

/**
 * @param {LayerData} data
 * @param {number} unit
 */
function partners(data, unit) {
  const { a } = view;
  const kind = view.options.matched in MATCHED ? view.options.matched : "correlation semi";
  const kinds = Object.entries(MATCHED).filter(([name]) => name in data.partners[a][others(a)[0]]);
  return element("section", { class: "partners" },
    element("div", { class: "row" }, element("h3", {}, "Partners"),
      choice("matched", kinds.map(([name, { label }]) => [name, label]), kind, (matched) => go({ options: { matched: matched === "correlation semi" ? "" : matched } }))),
    ...others(a).map((b) => partnerIn(data, b, unit, kind)));
}

/** The partner in network ``b`` with its numbers and pictures.
 * @param {LayerData} data
 * @param {number} b
 * @param {number} unit
 * @param {string} kind
 */
function partnerIn(data, b, unit, kind) {
  const { layer, a } = view;
  const found = data.partners[a][b][kind];
  const other = found?.unit[unit] ?? -1;
  if (other < 0) return element("article", { class: "partner" }, element("h4", {}, nets[b]), element("p", { class: "quiet" }, "no partner"));
  const back = data.partners[b][a][kind].unit[other] === unit;
  const facts = [
    [MATCHED[kind].value, fixed(found.value[unit])],
    ...(found.chance ? [["by chance", fixed(found.chance[unit])]] : []),
    ...(found.excess ? [["excess, mixed after", signed(found.excess[unit])]] : []),
    ...(found.q ? [["q", qText(found.q[unit])]] : []),
    ["mutual", back ? "yes" : "no"],
  ];
  const beyond = found.q && found.q[unit] <= run.false_discoveries;
  return element("article", { class: `partner${beyond ? " beyond" : ""}`, "data-net": nets[b], "data-unit": other },
    element("div", { class: "row" },
      element("h4", {}, element("a", { href: to(b, other) }, `${nets[b]} · ${unitName(layer, other)}`)),
      element("dl", {}, ...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))))),
    strip(layer, b, other, 38),
    element("p", { class: "quiet" }, element("a", { href: address({ place: "pairs", a, b, cell: [unit, other], options: {} }), "aria-label": `Compare the two: ${fullName(layer, a, unit)} and ${fullName(layer, b, other)}` }, "Compare the two")));
}

/** What predicts the unit: the mapping layer from one other network.
 * @param {LayerData} data
 * @param {number} unit
 */
function predictors(data, unit) {
  const { a, b, layer, options } = view;
  const decays = data.predictors?.[a][b] ?? [];
  const found = decays.find(({ decay }) => String(decay) === options.decay) ?? decays[0];
  if (!found) return null;
  const size = found.unit.length / found.r2.length;
  const places = Array.from({ length: size }, (_, n) => unit * size + n).filter((place) => found.unit[place] >= 0);
  const rising = decays.map(({ decay }) => decay).sort((x, y) => x - y);
  const few = places.length < found.used[unit] ? `; the ${places.length} of largest weight:` : ":";
  return element("details", { open: Boolean(view.options.decay || view.options.with) },
    element("summary", {}, "Mapping layer"),
    element("div", { class: "tools" },
      choice("from", others(a).map((n) => [n, nets[n]]), b, (value) => go({ b: Number(value), options: { with: nets[Number(value)] } })),
      choice("decay", rising.map((decay) => [decay, decayName(decay)]), found.decay, (decay) => go({ options: { decay } }))),
    element("p", {}, `R² ${fixed(found.r2[unit])} on images not used to find the weights, with ${counted(found.used[unit], "unit")}${places.length ? few : "."}`),
    element("ul", { class: "members" }, ...places.map((place) => member(layer, b, found.unit[place], signed(found.weight[place], 2)))));
}

/** @param {number} decay */
function decayName(decay) {
  const papers = Math.abs(Math.log10(decay / run.sparse_decay)) < 0.005 ? " (the paper’s)" : "";
  return `${Number(decay.toPrecision(2))}${papers}`;
}

/** The unit's cluster with another network.
 * @param {LayerData} data
 * @param {number} unit
 */
function cluster(data, unit) {
  const { a, b, layer } = view;
  const found = data.clusters?.[a][b]?.[0];
  if (!found) return null;
  const label = found.a[unit];
  const title = element("summary", {}, "Cluster");
  if (label < 0) return element("details", {}, title, element("p", {}, "It is in none: no correlation with another unit is large enough."));
  const groups = [{ net: a, units: members(found.a, label) }, { net: b, units: members(found.b, label) }];
  const size = groups.map(({ net, units }) => `${units.length} of ${nets[net]}`).join(" and ");
  const shown = groups.flatMap(({ net, units }) => units.slice(0, MEMBERS).map((other) => member(layer, net, other, nets[net])));
  return element("details", {}, title,
    element("p", {}, `Number ${label}, k = ${data.clusters?.[a][b][0].k}: ${size}; mean correlation ${fixed(found.between[label], 2)} between the networks, ${fixed(found.within[label], 2)} within. `,
      element("a", { href: address({ place: "clusters", a, b, unit: null, options: {} }) }, "All clusters")),
    element("ul", { class: "members" }, ...shown));
}

/** @type {(labels: Numbers, label: number) => number[]} */
const members = (labels, label) => [...labels.keys()].filter((unit) => labels[unit] === label);

/** A small portrait that leads to its unit.
 * @param {number} layer
 * @param {number} net
 * @param {number} unit
 * @param {string} text
 */
function member(layer, net, unit, text) {
  const href = address({ place: "units", a: net, b: view.b === net ? partner(net) : view.b, unit, options: view.place === "units" ? view.options : {} });
  return element("li", { "data-net": nets[net], "data-unit": unit },
    element("a", { href, class: "tile", "aria-label": `${shortName(layer, unit)} ${text}: ${fullName(layer, net, unit)}`, title: fullName(layer, net, unit) },
      hushed(portrait(layer, net, unit, 18)) ?? "", element("span", { class: "under" }, element("b", {}, shortName(layer, unit)), " ", element("span", {}, text))));
}
