// Two units side by side: their correlation and its null, their activations in the same images, and images that tell them apart.

const PLOT = { size: 300, left: 46, bottom: 34, side: 44 }; // of the scatter, and its histograms
const PLACES = 6; // images shown of each kind

/** The correlation of two units, as exactly as the page has it; NaN where it does not.
 * @param {LayerData} data
 * @param {number} a
 * @param {number} i
 * @param {number} b
 * @param {number} j
 */
function correlationOf(data, a, i, b, j) {
  const [match, back] = [data.partners[a][b]["correlation semi"], data.partners[b][a]["correlation semi"]];
  if (match?.unit[i] === j) return match.value[i];
  if (back?.unit[j] === i) return back.value[j];
  return matrixOf(data, a, b, undefined)?.value(i, j) ?? NaN;
}

/** All that is said of a pair of units.
 * @param {LayerData} data
 * @param {Unit} first
 * @param {Unit} second
 * @returns {Child[]}
 */
function pairParts(data, first, second) {
  const value = correlationOf(data, first.net, first.unit, second.net, second.unit);
  return [
    element("p", { class: "lead" }, `${pairNames(first, second)}: correlation ${fixed(value)} over all images${data.sample?.nets[first.net]?.box ? " and positions" : ""}.`),
    nulls(data, first, second, value), together(data, first, second), nine(data, first, second),
  ];
}

/** @type {(unit: Unit) => string} */
const nameOf = ({ net, unit }) => fullName(view.layer, net, unit);
/** @type {(first: Unit, second: Unit) => string} */
const pairNames = (first, second) => `${nameOf(first)} and ${nameOf(second)}`;

/** What chance gives, from either side.
 * @param {LayerData} data
 * @param {Unit} first
 * @param {Unit} second
 * @param {number} value
 */
function nulls(data, first, second, value) {
  const sides = [[first, second], [second, first]].map(([one, other]) => {
    const match = data.partners[one.net][other.net]["correlation semi"];
    const chance = match?.chance?.[one.unit];
    const best = match?.unit[one.unit] === other.unit;
    const partner = match && match.unit[one.unit] >= 0 ? shortName(view.layer, match.unit[one.unit]) : "none";
    return element("tr", {}, element("th", { scope: "row" }, nameOf(one)),
      element("td", {}, fixed(chance)), element("td", {}, signed(chance === undefined ? NaN : Math.abs(value) - chance)),
      element("td", {}, best ? qText(match?.q?.[one.unit]) : "–"), element("td", {}, best ? "yes" : `no, ${partner}`));
  });
  const head = ["unit", "by chance", "excess, mixed after", "q", "best partner"].map((name) => element("th", { scope: "col" }, name));
  return element("section", {}, element("h3", {}, "By chance"),
    element("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "By chance" },
      element("table", { class: "numbers" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...sides))),
    element("p", { class: "quiet" }, "By chance: the largest absolute correlation of the unit with random mixtures of the other network’s units (mixed after the non-linearity), mean over draws. q is that of the best partner, against the strictest of three nulls: such mixtures, images shuffled, and units mixed before a known non-linearity."));
}

/** @type {(q: Known) => string} */
const qText = (q) => (q != null && q < 0.001 ? "< 0.001" : fixed(q));

/** The activations of both in the sampled images, and the images that drive both or one alone.
 * @param {LayerData} data
 * @param {Unit} first
 * @param {Unit} second
 */
function together(data, first, second) {
  const sample = sampleOf(data, first.net, second.net);
  if (!sample) return element("p", { class: "quiet" }, aboutSample(data));
  const units = [first, second];
  const values = units.map(({ net, unit }) => activations(sample, net, unit));
  const [u, v] = values.map(levels);
  /** @type {(score: (n: number) => number) => number[]} */
  const most = (score) => u.map((_, n) => n).filter((n) => score(n) > 0).sort((x, y) => score(y) - score(x)).slice(0, PLACES);
  /** @type {[string, number[]][]} */
  const kinds = [
    ["Images that drive both", most((n) => Math.min(u[n], v[n]))],
    [`Images that drive ${nameOf(first)} alone`, most((n) => u[n] - v[n])],
    [`Images that drive ${nameOf(second)} alone`, most((n) => v[n] - u[n])],
  ];
  /** @type {(n: number) => string} */
  const both = (n) => values.map((of) => fixed(of[n], 2)).join(" · ");
  return element("section", { class: "together" },
    element("div", { class: "row" }, element("h3", {}, "In the same images"),
      element("button", { type: "button", onclick: () => saveCsv("pair", pairSheet(units, values)) }, "Save these values (CSV)")),
    element("p", { class: "quiet" }, `Each dot is one of ${sample.images} images drawn at random: the highest activation of each unit anywhere in it. ${agreement(u, v)}`),
    scatter(sample, units, values),
    ...kinds.map(([title, places]) => element("div", {}, element("h4", {}, title),
      places.length ? element("ul", { class: "thumbs" }, ...places.map((n) => thumbnail(sample, n, units, both(n)))) : element("p", { class: "quiet" }, "none of these images"))),
    element("p", { class: "quiet" }, `Under an image: the activations of both. Alone: images that rank much higher for one unit than for the other.${sample.nets[first.net].box ? " Framed: what each unit sees where it responds most." : ""}`));
}

/** How many of the images that drive one unit most are among those that drive the other most, and how many by chance.
 * @param {number[]} u
 * @param {number[]} v
 */
function agreement(u, v) {
  const count = Math.max(1, Math.round(u.length / 20));
  const [strong, other] = [u, v].map((of) => new Set(of.map((_, n) => n).filter((n) => of[n] > 0).sort((x, y) => of[y] - of[x]).slice(0, count)));
  const shared = [...strong].filter((n) => other.has(n)).length;
  return `Of the ${counted(strong.size, "image")} that drive the first most, ${shared} are among the ${other.size} that drive the second most; by chance ${fixed((strong.size * other.size) / u.length, 1)} would be.`;
}

/**
 * @param {Unit[]} units
 * @param {number[][]} values
 * @returns {Cell[][]}
 */
function pairSheet(units, values) {
  const names = units.map(({ net, unit }) => `${nets[net]} ${unitName(view.layer, unit)}`);
  return [["image", "class", ...names], ...values[0].map((value, n) => [run.sample?.images[n] ?? "", className(run.sample?.labels[n] ?? -1), value, values[1][n]])];
}

/** The activations of both units, the first to the right and the second upwards, with the histogram of each at its side.
 * @param {Sample} sample
 * @param {Unit[]} units
 * @param {number[][]} values
 */
function scatter(sample, units, values) {
  const { size, left, bottom, side } = PLOT;
  const [first, second] = values.map((of) => binned(of, 30));
  /** @type {(value: number, of: { low: number, high: number }) => number} */
  const part = (value, { low, high }) => (value - low) / (high - low || 1);
  /** @type {(n: number) => number} */
  const x = (n) => left + part(values[0][n], first) * size;
  /** @type {(n: number) => number} */
  const y = (n) => side + (1 - part(values[1][n], second)) * size;
  /** @type {(counts: number[], n: number) => number} */
  const bar = (counts, n) => ((side - 6) * counts[n]) / Math.max(...counts);
  const step = size / 30;
  const above = first.counts.map((count, n) => count > 0 && drawn("rect", { class: "one", x: left + n * step + 0.5, width: step - 1, y: side - 4 - bar(first.counts, n), height: bar(first.counts, n) }));
  const beside = second.counts.map((count, n) => count > 0 && drawn("rect", { class: "two", x: left + size + 4, width: bar(second.counts, n), y: side + size - (n + 1) * step + 0.5, height: step - 1 }));
  const dots = values[0].map((_, n) => drawn("circle", { cx: x(n), cy: y(n), r: 3.5 }));
  const said = element("ul", { class: "thumbs pointed" }, element("li", {}, "Point at a dot to see its image."));
  /** @param {MouseEvent} event */
  const point = (event) => {
    const box = plot.getBoundingClientRect();
    const scale = (left + size + side) / box.width;
    const [px, py] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    const near = dots.reduce((best, _, n) => ((x(n) - px) ** 2 + (y(n) - py) ** 2 < (x(best) - px) ** 2 + (y(best) - py) ** 2 ? n : best), 0);
    dots.forEach((dot, n) => dot.classList.toggle("here", n === near));
    said.replaceChildren(thumbnail(sample, near, units, `${fixed(values[0][near], 2)} · ${fixed(values[1][near], 2)}`), element("li", {}, imageName(near)));
  };
  const plot = drawn("svg", { class: "scatter", viewBox: `0 0 ${left + size + side} ${side + size + bottom}`, role: "img", onpointermove: point, onclick: point,
    "aria-label": `Activations of ${nameOf(units[0])} (to the right, ${fixed(first.low, 2)} to ${fixed(first.high, 2)}) and of ${nameOf(units[1])} (upwards, ${fixed(second.low, 2)} to ${fixed(second.high, 2)}) in ${values[0].length} images` },
  drawn("rect", { class: "frame", x: left, y: side, width: size, height: size }), ...above, ...beside, ...dots,
  ...[[first.low, "start", left], [first.high, "end", left + size]].map(([value, anchor, at_]) => drawn("text", { x: at_, y: side + size + 14, "text-anchor": anchor }, fixed(Number(value), 2))),
  ...[[second.low, side + size], [second.high, side + 10]].map(([value, at_]) => drawn("text", { x: left - 5, y: at_, "text-anchor": "end" }, fixed(value, 2))),
  drawn("text", { class: "one", x: left + size / 2, y: side + size + 28, "text-anchor": "middle" }, nameOf(units[0])),
  drawn("text", { class: "two", x: 12, y: side + size / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${side + size / 2})` }, nameOf(units[1])));
  return element("div", { class: "plot" }, plot, said);
}

/** The nine best patches of each, with those of images that both have framed.
 * @param {LayerData} data
 * @param {Unit} first
 * @param {Unit} second
 */
function nine(data, first, second) {
  const units = [first, second];
  const best = units.map(({ net, unit }) => [...(data.images?.[net].subarray(unit * run.ranks, (unit + 1) * run.ranks) ?? [])].filter((image) => image >= 0));
  const shared = best[0].filter((image) => best[1].includes(image));
  const said = best[0].length && best[1].length
    ? `Of all images, the two have ${shared.length} of their ${run.ranks} strongest in common${shared.length ? ", framed" : ""}.` : null;
  return element("section", {}, element("h3", {}, run.of_texts ? "The strongest tokens" : "The strongest patches"), said && element("p", { class: "quiet" }, said),
    ...units.map(({ net, unit }, n) => element("article", { class: "partner", "data-net": nets[net], "data-unit": unit },
      element("h4", {}, element("a", { href: address({ place: "units", a: net, b: units[1 - n].net, unit, options: {} }) }, `${nets[net]} · ${unitName(view.layer, unit)}`)),
      strip(view.layer, net, unit, 56, best[n].flatMap((image, rank) => (shared.includes(image) ? [rank] : []))), classes(data, net, unit))));
}
