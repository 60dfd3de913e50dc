// Clusters of the units of two networks, as groups of portraits.

/** @typedef {{ label: number, units: number[][], between: number, within: number }} Group */

function showClusters() {
  const { layer, a, b, options } = view;
  const clusterings = dataOf(layer).clusters?.[a][b] ?? [];
  const found = clusterings.find(({ k }) => String(k) === options.k) ?? clusterings[0];
  /** @type {Entry[]} */
  const ks = [...clusterings].sort((x, y) => x.k - y.k).map(({ k, is_default }) => [k, is_default ? `${k} (default)` : String(k)]);
  replace(at("cluster-tools"),
    choice("Layer", numbered(layers), layer, (value) => go({ layer: Number(value), options: { k: "" } })),
    choice("Network", numbered(nets), a, (value) => go({ a: Number(value), b: Number(value) === b ? a : b, options: { k: "" } })),
    choice("With", numbered(nets).filter(([n]) => n !== a), b, (value) => go({ b: Number(value), options: { k: "" } })),
    ks.length > 0 && choice("k", ks, found.k, (k) => go({ options: { k } })));
  at("cluster-k").textContent = found ? aboutK(found, clusterings) : "";
  const groups = found ? grouped(found) : [];
  const both = groups.filter(({ units }) => units.every((of) => of.length)).length;
  at("cluster-count").textContent = found
    ? `${counted(groups.length, "cluster")}, ${both} with units of both networks, which come first.`
    : "This layer has no clusters here: no correlation is large enough, or the run lacks the table.";
  at("cluster-list").replaceChildren(...groups.map(group));
}

/** What k is, how it was chosen, and how much of the clustering is there by chance.
 * @param {Clustering} found
 * @param {Clustering[]} all
 */
function aboutK({ k, is_default: isDefault, chosen, threshold, size_limit: limit, modularity, mixed }, all) {
  const best = all.find((one) => one.chosen);
  const why = isDefault ? "the default: 40 clusters for every 192 units that have an edge, at most 100, as in the paper" : "one of those that the sweep was given";
  const largest = chosen ? " It is also the k of largest modularity." : best ? ` The k of largest modularity is ${best.k}.` : "";
  const chance = mixed == null ? "" : ` (${fixed(mixed, 2)} by chance, with one network’s units mixed: ${(modularity ?? 0) > mixed ? "above chance" : "not above chance"})`;
  return `k = ${k}, ${why}. Two units have an edge if their correlation is above ${fixed(threshold, 2)}. Modularity ${fixed(modularity, 2)}${chance}.${largest} Clusters of more than ${Math.floor(limit)} units are split again. Clusters are numbered as in the table clusters and in Figures 13 to 15.`;
}

/** @returns {Cell[][]} */
function clustersSheet() {
  const { layer, a, b, options } = view;
  const clusterings = dataOf(layer).clusters?.[a][b] ?? [];
  const found = clusterings.find(({ k }) => String(k) === options.k) ?? clusterings[0];
  const rows = found ? [[a, found.a], [b, found.b]].flatMap(([net, labels]) => [.../** @type {Numbers} */ (labels)].map((label, unit) => [layers[layer], found.k, nets[Number(net)], unit, label])) : [];
  return [["layer", "k", "net", "unit", "cluster"], ...rows];
}

/** The clusters, those of both networks first, the largest correlation between the networks first among them.
 * @param {Clustering} found
 * @returns {Group[]}
 */
function grouped(found) {
  const labels = [...new Set([...found.a, ...found.b])].filter((label) => label >= 0);
  const groups = labels.map((label) => ({
    label, units: [members(found.a, label), members(found.b, label)], between: found.between[label], within: found.within[label],
  }));
  /** @type {(group: Group) => number} */
  const both = ({ units }) => Number(units.every((of) => of.length));
  return groups.sort((x, y) => both(y) - both(x) || y.between - x.between || x.label - y.label);
}

/** @param {Group} group */
function group({ label, units, between, within }) {
  const { layer, a, b } = view;
  const two = units.every((of) => of.length);
  const size = [a, b].map((net, n) => `${units[n].length} of ${nets[net]}`).join(", ");
  /** @type {(net: number, of: number[]) => Child} */
  const side = (net, of) => of.length > 0 && element("div", { class: "side" }, element("h4", {}, nets[net]),
    element("ul", { class: "members" }, ...of.map((unit) => member(layer, net, unit, ""))));
  return element("article", { class: `card group${two ? " two" : ""}`, "data-cluster": label },
    element("div", { class: "row" }, element("h3", {}, `Cluster ${label}`),
      element("p", { class: "quiet" }, `${size} · correlation ${two ? `${fixed(between, 2)} between, ` : ""}${fixed(within, 2)} within`)),
    element("div", { class: "sides" }, side(a, units[0]), side(b, units[1])));
}
