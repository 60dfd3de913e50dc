// The first screen: the answer, the chart of the layers, whether the run can be trusted, and where to go on.

function showOverview() {
  if (at("overview").childElementCount) return;
  const best = mostTelling();
  const readout = element("div", { class: "readout" });
  /** @type {(n: number) => void} */
  const pointed = (n) => readout.replaceChildren(...said(averages[n]));
  const chart = excessChart(pointed);
  pointed(Math.max(0, averages.findIndex((row) => row.layer === layers[best])));
  at("overview").append(
    element("h2", { id: "answer" }, run.answer),
    run.origin ? element("p", { class: "warning" }, run.origin) : "",
    aboutRun(),
    element("p", { class: "lead" }, compared()),
    element("div", { class: "first" },
      element("figure", { class: "card" },
        element("figcaption", {}, element("div", { class: "row" }, element("h3", {}, "Correlation above chance"),
          element("button", { type: "button", onclick: () => saveDrawing("excess", chart) }, "Save SVG")),
          element("p", { class: "quiet" }, "Excess: the correlation of units with their best partner in another network, less that with mixtures of that network’s units. Thin lines reach from the pair of networks with the least to that with the most. Choose a layer to see its units.")),
        key(), element("div", { class: "plot" }, chart), readout,
        element("p", { class: "quiet" }, "Means over ordered pairs of networks; in small type the 95% interval over networks, where there are three or more.")),
      element("div", { class: "aside" }, health(), accuracies(), next())),
    effects(), table(), cite(), missing());
}

/** What units do for the task, where stages that come after a run have found it. */
function effects() {
  if (!run.effects.length) return "";
  const titles = [...new Set(run.effects.map(({ title }) => title))];
  /** @type {(title: string) => Child[]} */
  const found = (title) => run.effects.filter((one) => one.title === title).map(({ text }) => element("dd", {}, text));
  const groups = titles.map((title) => element("div", {}, element("dt", {}, title), ...found(title)));
  return element("section", { class: "card effects" }, element("h3", {}, "What matched units do"), element("dl", {}, ...groups));
}

function compared() {
  const { images: count } = run.about;
  const images = count ? `; ${count.toLocaleString("en")} ${run.of_texts ? "documents" : "validation images"} passed through all of them at once` : "";
  const first = nets.length < everyone.length ? ` This page has room for the units of ${nets.length} of them, ${nets[0]} to ${nets.at(-1)}; the tables have those of all.` : "";
  return `${counted(everyone.length, "network")}${run.about.trained ? " trained from different seeds" : ""}, with ${counted(run.units, "unit")} in ${counted(layers.length, "layer")}${images}.${first}`;
}

function key() {
  /** @type {(name: string, text: string) => Child} */
  const entry = (name, text) => element("li", {}, element("i", { class: `swatch ${name}` }), text);
  /** @type {(name: Average) => boolean} */
  const shown = (name) => averages.some((row) => row[name] != null);
  return element("ul", { class: "key" },
    shown("before") && entry("before", "over units mixed before the non-linearity"),
    shown("after") && entry("after", "over units mixed after the non-linearity"),
    entry("untrained", "the same between untrained networks"));
}

/** What stands below the chart of one layer.
 * @param {Averages} row
 */
function said(row) {
  /** @type {[string, Average, Average | null, (value: Known) => string, string][]} */
  const facts = [
    ["excess, mixed before", "before", "before_untrained", signed, ""],
    ["excess, mixed after", "after", "after_untrained", signed, ""],
    ["correlation", "correlation", "correlation_untrained", fixed, "with the best partner"],
    ["have a partner", "beyond_chance", "beyond_chance_untrained", percent, "in another network, mean over pairs"],
    ["one to one", "one_to_one", null, percent, "keep it when no unit is taken twice"],
    ["by mutual information", "by_mi", null, percent, `keep it${row.halves == null ? "" : `; ${percent(row.halves)} do in two halves of the images`}`],
  ];
  const known = facts.filter(([, name]) => row[name] != null);
  return [
    element("strong", {}, row.layer),
    element("dl", {}, ...known.map(([name, key_, untrained, text, what]) => element("div", {}, element("dt", {}, name),
      element("dd", {}, text(row[key_]), element("small", {}, interval(row, key_, text))),
      element("dd", { class: "more" }, `untrained ${untrained && row[untrained] != null ? text(row[untrained]) : "not measured"}`, what && [element("br", {}), what])))),
  ];
}

/** The 95% interval over networks of an average.
 * @param {Averages} row
 * @param {Average} name
 * @param {(value: Known) => string} text
 */
function interval(row, name, text) {
  const [low, high] = row.intervals[name] ?? [];
  return low == null || high == null ? "no interval" : `${text(low)} to ${text(high)}`;
}

/** @returns {Cell[][]} */
function averagesSheet() {
  const names = /** @type {Average[]} */ (Object.keys(averages[0] ?? {}).filter((name) => !["layer", "before_range", "after_range", "intervals"].includes(name)));
  return [["layer", ...names.flatMap((name) => [name, `${name}_low`, `${name}_high`])],
    ...averages.map((row) => [row.layer, ...names.flatMap((name) => [row[name] ?? "", ...(row.intervals[name] ?? ["", ""])])])];
}

function health() {
  if (!run.health) return null;
  if (!run.health.layer) {
    return element("section", { class: "card health" }, element("h3", {}, "No health check"),
      element("p", {}, "The networks have no logits in common, by which it could be told whether all have seen the same samples in the same order."));
  }
  const broken = run.health.broken_pairs;
  const named = broken.slice(0, 6).map(([a, b]) => `${a}–${b}`).join(", ");
  const pairs = broken.length > 6 ? `${named} and ${broken.length - 6} other pairs` : named;
  const text = broken.length
    ? `The logits (${run.health.layer}) of ${pairs} do not match class by class. Either the networks are barely trained, or their images or preprocessing were mixed up: do not trust these results.`
    : `The logits (${run.health.layer}) of all pairs match class by class, as they must if all networks saw the same images.`;
  return element("section", { class: `card health ${broken.length ? "bad" : "good"}` },
    element("h3", {}, broken.length ? "Health check failed" : "Health check passed"), element("p", {}, text));
}

function accuracies() {
  /** @type {(net: string) => Child} */
  const bar = (net) => {
    const value = run.accuracies[net];
    const length = element("i", {});
    length.style.width = `${100 * (value ?? 0)}%`;
    return element("tr", {}, element("th", { scope: "row" }, net),
      element("td", { class: "bar" }, length), element("td", {}, value == null ? "not known" : percent(value, 2)));
  };
  return element("section", { class: "card" }, element("h3", { id: "accuracies" }, "Validation accuracy"),
    element("table", { class: "accuracies", "aria-labelledby": "accuracies" }, element("tbody", {}, ...everyone.map(bar))));
}

/** Where to look next, from what the run has. */
function next() {
  const best = mostTelling();
  const hidden = layers.map((_, n) => n).filter((n) => !isOutput(n));
  const recurring = hidden.filter((n) => run.recurring[layers[n]]);
  const most = recurring.sort((x, y) => run.recurring[layers[y]] - run.recurring[layers[x]])[0];
  /** @type {([Changes, string, string] | false | undefined)[]} */
  const links = [
    [{ place: "units", layer: best, a: 0, unit: null, options: { sort: "excess" } }, `Units of ${layers[best]} by excess`, "the layer with the largest excess, mixed before"],
    most !== undefined && [{ place: "units", layer: most, a: -1, unit: null, options: { show: "recurring" } },
      `${counted(run.recurring[layers[most]], "unit")} of ${layers[most]} recur in all networks`, "the most of any layer"],
    most !== undefined && [{ place: "groups", layer: most }, `Recurring groups of ${layers[most]}`, "one unit of every network, side by side"],
    [{ place: "pairs", layer: best, a: 0, b: 1, cell: [] }, `Pairs of ${layers[best]}`, "every unit with its best partner, to be sorted"],
    json(`layer-${best}`).correlations && [{ place: "matrix", layer: best, a: 0, b: 1 }, `Correlations of ${layers[best]}`, `every unit of ${nets[0]} with every one of ${nets[1]}`],
    json(`layer-${best}`).clusters && [{ place: "clusters", layer: best, a: 0, b: 1, options: {} }, `Clusters of ${layers[best]}`, "groups of units that both networks have"],
  ];
  const items = links.flatMap((link) => (link ? [link] : [])).map(([to, text, why]) =>
    element("li", {}, element("a", { href: address({ options: {}, ...to }) }, text), element("small", {}, why)));
  return element("section", { class: "card" }, element("h3", {}, "Explore"), element("ul", { class: "next" }, ...items));
}

function table() {
  /** @type {[string, Average, (value: Known) => string][]} */
  const columns = [
    ["correlation", "correlation", fixed], ["untrained", "correlation_untrained", fixed],
    ["excess, mixed before", "before", signed], ["untrained", "before_untrained", signed],
    ["excess, mixed after", "after", signed], ["untrained", "after_untrained", signed],
    ["have a partner", "beyond_chance", percent], ["untrained", "beyond_chance_untrained", percent],
    ["estimated share", "estimated_share", percent], ["untrained", "estimated_share_untrained", percent],
    ["one to one", "one_to_one", percent], ["by mutual information", "by_mi", percent], ["halves", "halves", percent],
    ["same index", "same_index", percent], ["by chance", "same_index_chance", percent],
  ];
  const head = element("tr", {}, element("th", { scope: "col" }, "layer"), ...columns.map(([name]) => element("th", { scope: "col" }, name)));
  const rows = averages.map((row) => element("tr", {}, element("th", { scope: "row" }, row.layer),
    ...columns.map(([, name, text]) => element("td", {}, row[name] == null ? "–" : text(row[name])))));
  const frame = { class: "scroll", role: "region", tabindex: 0, "aria-label": "Averages by layer" };
  return element("details", { class: "card" }, element("summary", {}, "All averages in numbers"),
    element("p", { class: "quiet" }, `Means over all ordered pairs of networks. Have a partner: units with a partner in another network, named at a false discovery rate of ${percent(run.false_discoveries)}; estimated share: units that have one, named or not, from all p-values. One to one, by mutual information: units with the same partner in that matching; halves: in two halves of the images, to compare these two with. Same index: units whose partner has their own number, as in networks that share their first weights.`),
    element("div", frame, element("table", { class: "numbers" }, element("thead", {}, head), element("tbody", {}, ...rows))));
}

function missing() {
  const items = Object.entries(run.missing).map(([what, command]) => element("li", {}, `${what}: `, element("code", {}, command)));
  if (!items.length) return "";
  return element("section", { class: "card" }, element("h3", {}, "Left out, as the run does not have it yet"),
    element("p", {}, "These commands make it; report again then."), element("ul", {}, ...items));
}
