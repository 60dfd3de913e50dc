// Top patches and what drives the unit in them, drawn from the sheets in which the page holds them.

const GAP = 2; // pixels between patches
const SHARP = Math.min(2, Math.ceil(devicePixelRatio || 1));

/** Pictures are drawn when they come into sight, or on paper. */
const sight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) draw(/** @type {HTMLCanvasElement} */ (target));
}, { rootMargin: "300px" });
addEventListener("beforeprint", () => document.querySelectorAll("canvas").forEach(draw));

/** @param {HTMLCanvasElement} canvas */
function draw(canvas) {
  sight.unobserve(canvas);
  canvas.draw?.();
  canvas.draw = null;
}

/** A sheet of pictures, decoded when the first of them is drawn.
 * @param {string} kind
 * @param {number} layer
 * @param {number} number
 * @returns {Promise<ImageBitmap>}
 */
function sheet(kind, layer, number) {
  const id = `${kind}-${layer}-${number}`;
  const decoded = held.sheets.get(id) ?? createImageBitmap(new Blob([bytesOf(at(id).textContent ?? "")], { type: "image/webp" }));
  held.sheets.set(id, decoded);
  return decoded;
}

/** A canvas of ``rows`` lists of [kind, rank] with cells of ``size`` pixels; null where the layer has no pictures.
 * @param {number} layer
 * @param {number} net
 * @param {number} unit
 * @param {Picture[][]} rows
 * @param {number} size
 * @param {string} label
 * @param {number[]} [framed] ranks with a frame
 */
function pictures(layer, net, unit, rows, size, label, framed = []) {
  const found = dataOf(layer).pictures;
  if (!found) return null;
  const [across, down] = [Math.max(...rows.map((row) => row.length)), rows.length];
  const [width, height] = [across * (size + GAP) - GAP, down * (size + GAP) - GAP];
  const canvas = element("canvas", { role: "img", "aria-label": label, width: width * SHARP, height: height * SHARP });
  canvas.style.aspectRatio = `${width} / ${height}`;
  canvas.style.width = `${width}px`;
  canvas.draw = () => paint(canvas, layer, found, net, unit, rows, size, framed);
  sight.observe(canvas);
  return canvas;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {number} layer
 * @param {Pictures} found
 * @param {number} net
 * @param {number} unit
 * @param {Picture[][]} rows
 * @param {number} size
 * @param {number[]} framed
 */
async function paint(canvas, layer, found, net, unit, rows, size, framed) {
  const drawing = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  drawing.imageSmoothingEnabled = false;
  drawing.scale(SHARP, SHARP);
  let count = 0;
  for (const [row, cells] of rows.entries()) {
    for (const [column, [kind, rank]] of cells.entries()) {
      const { columns, per_sheet: perSheet, index } = found[kind];
      const tile = rank < found.ranks ? index[net][unit * found.ranks + rank] : -1;
      if (tile < 0) continue;
      const place = tile % perSheet;
      const source = await sheet(kind, layer, Math.floor(tile / perSheet));
      const [left, top] = [(place % columns) * found.tile, Math.floor(place / columns) * found.tile];
      drawing.drawImage(source, left, top, found.tile, found.tile, column * (size + GAP), row * (size + GAP), size, size);
      count += 1;
      if (kind !== "patches" || !framed.includes(rank)) continue;
      drawing.strokeStyle = getComputedStyle(canvas).getPropertyValue("--frame");
      drawing.lineWidth = 3;
      drawing.strokeRect(column * (size + GAP) + 1.5, row * (size + GAP) + 1.5, size - 3, size - 3);
    }
  }
  canvas.dataset.drawn = String(count);
}

/** @type {(kind: Picture[0], first: number, last: number) => Picture[]} */
const ranked = (kind, first, last) => Array.from({ length: last - first }, (_, n) => [kind, first + n]);

/** A text in which spaces and ends of lines can be seen. @type {(text: string) => string} */
const seen = (text) => text.replaceAll("\n", "⏎").replaceAll(/^ | $/g, "␣");

/** The tokens at which a unit of a language model is highest, one below the other; null for networks of images.
 * @param {number} layer
 * @param {number} net
 * @param {number} unit
 */
function tokensOf(layer, net, unit) {
  const found = dataOf(layer).contexts?.[net][unit];
  return found ? element("span", { class: "tokens" }, ...found.slice(0, 3).map(([, token]) => element("span", {}, seen(token)))) : null;
}

/** The same with the text around.
 * @param {number} layer
 * @param {number} net
 * @param {number} unit
 */
function contextsOf(layer, net, unit) {
  const found = dataOf(layer).contexts?.[net][unit];
  return found ? element("ol", { class: "contexts" }, ...found.map(([before, token, after]) =>
    element("li", {}, element("span", { class: "left" }, element("bdi", {}, before)), element("mark", {}, seen(token)), element("span", {}, after)))) : null;
}

/** The portrait of a unit: its patches in a square, three by three where all nine are there, or its tokens.
 * @param {number} layer
 * @param {number} net
 * @param {number} unit
 * @param {number} size
 */
function portrait(layer, net, unit, size) {
  if (run.of_texts) return tokensOf(layer, net, unit);
  const ranks = dataOf(layer).pictures?.ranks ?? 0;
  const side = Math.max(1, Math.floor(Math.sqrt(ranks)));
  const rows = Array.from({ length: side }, (_, n) => ranked("patches", n * side, (n + 1) * side));
  return pictures(layer, net, unit, rows, (3 * size + (3 - side) * GAP) / side, `Patches that drive ${fullName(layer, net, unit)} most`);
}

/** The patches in a row, the strongest first, and below each what in it drives the unit; or texts around its tokens.
 * @param {number} layer
 * @param {number} net
 * @param {number} unit
 * @param {number} size
 * @param {number[]} [framed]
 */
function strip(layer, net, unit, size, framed = []) {
  if (run.of_texts) return contextsOf(layer, net, unit);
  const ranks = dataOf(layer).pictures?.ranks ?? 0;
  const label = `The ${ranks} patches that drive ${fullName(layer, net, unit)} most, and what in them drives it`;
  return pictures(layer, net, unit, [ranked("patches", 0, ranks), ranked("drives", 0, ranks)], size, label, framed);
}

/** @param {number} layer */
function aboutPictures(layer) {
  if (run.of_texts) return dataOf(layer).contexts ? "The tokens at which the unit is highest, of different documents, the highest first, with the text around." : "To keep this file small, contexts are left out; they stand in the run’s table contexts.";
  const found = dataOf(layer).pictures;
  if (!found && run.pictured) return "To keep this file small, the patches of this wide layer are left out.";
  if (!found) return "This run has no pictures of patches yet; the overview says what makes them.";
  const fewer = found.ranks < run.ranks ? ` To keep this file small, ${found.ranks} of the ${run.ranks} are shown in this layer.` : "";
  return `Above, the patches that drive the unit most, the strongest first; below, what in them drives it (${found.method}).${fewer}`;
}
