// How units respond to a sample of the images: their activations, and the images as thumbnails.

const LEVELS = [1, 0.95, 0.9, 0.75, 0.5, 0.25, 0]; // quantiles of a unit's activation of which an image is shown
const THUMB = 64; // pixels

/** The highest activation of a unit in every sampled image of the layer.
 * @param {Sample} sample
 * @param {number} net
 * @param {number} unit
 * @returns {number[]}
 */
function activations({ images, nets: of }, net, unit) {
  const { low, high, values } = of[net];
  const step = (high[unit] - low[unit]) / 254;
  return Array.from(values.subarray(unit * images, (unit + 1) * images), (value) => low[unit] + (value + 127) * step);
}

/** The sample of a layer, where all of some networks have seen its images; recorded activations have not.
 * @param {LayerData} data
 * @param {...number} of
 */
const sampleOf = ({ sample }, ...of) => (sample && of.every((net) => sample.nets[net]) ? sample : null);

/** Of every value the fraction of values below it.
 * @param {number[]} values
 */
function levels(values) {
  const sorted = Float64Array.from(values).sort();
  /** @type {Map<number, number>} */
  const first = new Map();
  sorted.forEach((value, n) => { if (!first.has(value)) first.set(value, n / sorted.length); });
  return values.map((value) => first.get(value) ?? 0);
}

/** Image number and class of the sampled image at a place.
 * @param {number} place
 */
function imageName(place) {
  const label = run.sample?.labels[place] ?? -1;
  return `image ${run.sample?.images[place]}${label >= 0 ? ` (${className(label)})` : ""}`;
}

/** A sampled image with the parts of it that units respond to framed, each in the colour of its network's place in the pair.
 * @param {Sample} sample
 * @param {number} place
 * @param {Unit[]} units
 * @param {string} text
 */
function thumbnail(sample, place, units, text) {
  const canvas = element("canvas", { width: THUMB * SHARP, height: THUMB * SHARP, "aria-hidden": "true" });
  canvas.style.width = `${THUMB}px`;
  canvas.draw = () => paintImage(canvas, sample, place, units);
  sight.observe(canvas);
  return element("li", { title: imageName(place), "data-image": run.sample?.images[place] }, canvas,
    element("span", {}, text), element("span", { class: "heard" }, `, ${imageName(place)}`));
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Sample} sample
 * @param {number} place
 * @param {Unit[]} units
 */
async function paintImage(canvas, sample, place, units) {
  if (!run.sample) return;
  const { tile, columns, per_sheet: perSheet, index } = run.sample;
  const drawing = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const number = index[place] % perSheet;
  const source = await sheet("sample", 0, Math.floor(index[place] / perSheet));
  const [left, top] = [(number % columns) * tile, Math.floor(number / columns) * tile];
  drawing.scale(SHARP, SHARP);
  drawing.imageSmoothingEnabled = false;
  drawing.drawImage(source, left, top, tile, tile, 0, 0, THUMB, THUMB);
  const style = getComputedStyle(canvas);
  units.forEach(({ net, unit }, n) => {
    const box = sample.nets[net].box?.[unit * sample.images + place];
    if (box === undefined) return;
    const [y0, x0, y1, x1] = [...sample.boxes.subarray(4 * box, 4 * box + 4)].map((edge) => (edge / 1000) * THUMB);
    for (const [width, colour] of [[4, "#000000"], [2, style.getPropertyValue(n ? "--second" : "--first")]]) {
      drawing.lineWidth = Number(width);
      drawing.strokeStyle = String(colour);
      drawing.strokeRect(x0 + 1, y0 + 1, Math.max(1, x1 - x0 - 2), Math.max(1, y1 - y0 - 2));
    }
  });
  canvas.dataset.drawn = "1";
}

/** Images from those that drive a unit most to those that drive it least, and how often it has which activation.
 * @param {LayerData} data
 * @param {number} net
 * @param {number} unit
 */
function responses(data, net, unit) {
  if (run.of_texts) return null;
  const sample = sampleOf(data, net);
  if (!sample) return element("p", { class: "quiet" }, aboutSample(data));
  const values = activations(sample, net, unit);
  const order = values.map((_, place) => place).sort((x, y) => values[y] - values[x]);
  const shown = LEVELS.map((level) => {
    const place = order[Math.round((1 - level) * (order.length - 1))];
    return thumbnail(sample, place, [{ net, unit }], `${percent(level)}: ${fixed(values[place], 2)}`);
  });
  return element("section", { class: "responses" },
    element("h3", {}, "From the strongest to the weakest response"),
    element("p", { class: "quiet" }, `The unit’s highest activation in each of ${sample.images} images drawn at random: how many images have which, and the images at some quantiles (100%: the highest)${sample.nets[net].box ? "; framed, what the unit sees there" : ""}.`),
    histogram(values), element("ul", { class: "thumbs" }, ...shown));
}

/** Why there is none. @type {(data: LayerData) => string} */
const aboutSample = ({ sample }) => (run.of_texts ? "Activations in a sample of the documents are not kept." : sample ? "Recorded activations are of no images." : run.missing["how units respond to a sample of the images"]
  ? "This run has no sample of the images yet; the overview says what makes it."
  : "To keep this file small, the activations in a sample of the images are left out; they stand in the run’s table sampled_activations.");

/** Counts of values in equal bins.
 * @param {number[]} values
 * @param {number} bins
 */
function binned(values, bins) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const counts = new Array(bins).fill(0);
  for (const value of values) counts[Math.min(bins - 1, Math.floor(((value - low) / (high - low || 1)) * bins))] += 1;
  return { low, high, counts };
}

/** @param {number[]} values */
function histogram(values) {
  const [width, height, bins] = [480, 64, 48];
  const { low, high, counts } = binned(values, bins);
  const most = Math.max(...counts);
  const bars = counts.map((count, n) => count > 0 && drawn("rect", {
    x: (n * width) / bins + 0.5, width: width / bins - 1, y: height * (1 - count / most), height: (height * count) / most }));
  return drawn("svg", { class: "histogram", viewBox: `0 0 ${width} ${height + 18}`, role: "img",
    "aria-label": `Histogram of the activations, from ${fixed(low, 2)} to ${fixed(high, 2)}; at most ${counted(most, "image")} in one of ${bins} bins` },
  ...bars, drawn("line", { x1: 0, x2: width, y1: height, y2: height }),
  drawn("text", { x: 0, y: height + 14 }, fixed(low, 2)), drawn("text", { x: width, y: height + 14, "text-anchor": "end" }, fixed(high, 2)),
  drawn("text", { x: width / 2, y: height + 14, "text-anchor": "middle" }, `activation (highest bar: ${counted(most, "image")})`));
}
