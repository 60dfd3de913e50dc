// Matrices as heat maps: every unit of one network with every unit of another.

const PAIRS = 18; // shown beside the map
const MARGIN = 44; // pixels for the numbers of the units
let map = /** @type {HeatMap | null} */ (null); // what is drawn

function showMatrix() {
  const { layer, a, b, options } = view;
  const data = dataOf(layer);
  matrixTools(data);
  const matrix = matrixOf(data, a, b, options.of);
  if (!matrix) {
    map = null;
    at("map").replaceChildren(element("p", { class: "nothing" }, whyNot()));
  } else {
    const key = JSON.stringify([layer, a, b, options.of, options.order]);
    if (map?.key !== key) begin(key, data, matrix);
    drawMap();
  }
  showCell(data, matrix);
}

/** Where else to find a matrix that is not in this file. */
function whyNot() {
  const name = view.options.of === "weights" ? "mapping_weights" : "correlations";
  const layer = layers[view.layer];
  return run.left_out.includes(layer)
    ? `To keep this file small, the matrices of this wide layer are left out: they stand in the run's table ${name}, layer ${layer}. The partners of every unit are under Units.`
    : `This run has no table ${name} of this layer yet.`;
}

/** {scale, value(i, j), rows, columns}; rows are units of ``a``.
 * @param {LayerData} data
 * @param {number} a
 * @param {number} b
 * @param {string | undefined} of
 * @returns {Matrix | null | undefined}
 */
function matrixOf(data, a, b, of) {
  const [rows, columns] = [data.units[a].width, data.units[b].width];
  /** @type {(found: Packed | null | undefined, at: (i: number, j: number) => number) => Matrix | null | undefined} */
  const read = (found, at) => found && { scale: found.scale, rows, columns, value: (i, j) => {
    const step = found.values[at(i, j)];
    return step === -128 ? NaN : (step / 127) * found.scale;
  } };
  if (of === "weights") return read(data.weights?.[a][b], (i, j) => i * columns + j);
  return read(data.correlations?.[a][b], (i, j) => i * columns + j) ?? read(data.correlations?.[b][a], (i, j) => j * rows + i);
}

/** @param {LayerData} data */
function matrixTools(data) {
  const { layer, a, b, options } = view;
  /** @type {(changes: Changes) => void} */
  const choose = (changes) => go({ cell: [], ...changes });
  /** @type {Entry[]} */
  const orders = [["", "partners on the diagonal"], ["number", "unit number"]];
  if (data.clusters) orders.splice(1, 0, ["cluster", "clusters"]);
  replace(at("matrix-tools"),
    choice("Layer", numbered(layers), layer, (value) => choose({ layer: Number(value) })),
    choice("Rows", numbered(nets), a, (value) => choose({ a: Number(value), b: Number(value) === b ? a : b })),
    choice("Columns", numbered(nets).filter(([n]) => n !== a), b, (value) => choose({ b: Number(value) })),
    data.weights && choice("Matrix", [["", "correlations"], ["weights", "mapping layer"]], options.of ?? "", (of) => choose({ options: { of } })),
    choice("Order", orders, options.order ?? "", (value) => go({ options: { order: value } })),
    element("div", { class: "zoom" },
      element("button", { type: "button", "aria-label": "Zoom out", onclick: () => zoomed(1 / 1.6) }, "−"),
      element("button", { type: "button", "aria-label": "Zoom in", onclick: () => zoomed(1.6) }, "+"),
      element("button", { type: "button", onclick: () => zoomed(0) }, "Fit"),
      element("button", { type: "button", onclick: () => { if (map) savePicture("matrix", map.canvas); } }, "Save PNG")));
}

/** Rows by falling correlation with their one-to-one partner, and each column with its row; the rest after them. Or units
 * of a cluster together, those of both networks first, as under Clusters; units in none are last.
 * @param {LayerData} data
 * @param {number} a
 * @param {number} b
 * @param {number} rows
 * @param {number} columns
 * @returns {[number[], number[]]}
 */
function ordered(data, a, b, rows, columns) {
  const [down, along] = [rows, columns].map((count) => Array.from({ length: count }, (_, n) => n));
  const found = data.clusters?.[a][b]?.[0];
  if (view.options.order === "cluster" && found) {
    const places = new Map(grouped(found).map(({ label }, n) => [label, n]));
    /** @type {(labels: Numbers) => (x: number, y: number) => number} */
    const by = (labels) => (x, y) => (places.get(labels[x]) ?? Infinity) - (places.get(labels[y]) ?? Infinity) || x - y;
    return [down.sort(by(found.a)), along.sort(by(found.b))];
  }
  const match = data.partners[a][b]["correlation bipartite"];
  if (view.options.order === "number" || !match) return [down, along];
  /** @type {(i: number) => boolean} */
  const known = (i) => match.unit[i] >= 0;
  const first = down.filter(known).sort((x, y) => match.value[y] - match.value[x]);
  const taken = first.map((i) => match.unit[i]);
  const free = new Set(taken);
  return [[...first, ...down.filter((i) => !known(i))], [...taken, ...along.filter((j) => !free.has(j))]];
}

/**
 * @param {string} key
 * @param {LayerData} data
 * @param {Matrix} matrix
 */
function begin(key, data, matrix) {
  const [down, along] = ordered(data, view.a, view.b, matrix.rows, matrix.columns);
  const canvas = element("canvas", {
    tabindex: 0, role: "img", "aria-describedby": "map-said",
    "aria-label": `${view.options.of === "weights" ? "Weights that predict" : "Correlations of"} ${nets[view.a]} (rows) ${view.options.of === "weights" ? "from" : "with"} ${nets[view.b]} (columns) in ${layers[view.layer]}. Arrow keys move, Enter opens the two units.`,
  });
  const text = element("p", { id: "map-said", role: "status" }, hint());
  at("map").replaceChildren(element("div", { class: "axes" },
    element("span", { class: "along" }, `units of ${nets[view.b]}`), element("span", { class: "down" }, `units of ${nets[view.a]}`), canvas), legend(matrix), text);
  map = { key, matrix, down, along, canvas, zoom: 1, left: 0, top: 0, over: null, whole: whole(matrix, down, along), boxes: boxes(data, down, along) };
  listen(map);
}

/** Row, column, height and width of the clusters of both networks, where the map is in their order.
 * @param {LayerData} data
 * @param {number[]} down
 * @param {number[]} along
 */
function boxes(data, down, along) {
  const found = data.clusters?.[view.a][view.b]?.[0];
  if (view.options.order !== "cluster" || !found) return [];
  return grouped(found).filter(({ units }) => units.every((of) => of.length)).map(({ label, units: [of, other] }) =>
    [down.findIndex((i) => found.a[i] === label), along.findIndex((j) => found.b[j] === label), of.length, other.length]);
}

const hint = () => "Point at a cell to see its two units, click to open them. Scroll to zoom, drag to move.";

/** The matrix with one pixel per cell, in the colours of the page.
 * @param {Matrix} matrix
 * @param {number[]} down
 * @param {number[]} along
 */
function whole({ rows, columns, scale, value }, down, along) {
  const image = new ImageData(columns, rows);
  const { low, none, high } = colours();
  for (let y = 0; y < rows; y += 1) {
    for (let x = 0; x < columns; x += 1) {
      const found = value(down[y], along[x]);
      const part = Number.isNaN(found) ? 0 : Math.min(1, Math.abs(found) / scale);
      const end = found < 0 ? low : high;
      const place = 4 * (y * columns + x);
      for (let c = 0; c < 3; c += 1) image.data[place + c] = none[c] + part * (end[c] - none[c]);
      image.data[place + 3] = Number.isNaN(found) ? 90 : 255;
    }
  }
  const canvas = element("canvas", { width: columns, height: rows });
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  return canvas;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  /** @type {(name: string) => number[]} */
  const of = (name) => (style.getPropertyValue(name).match(/[0-9a-f]{2}/gi) ?? []).map((pair) => parseInt(pair, 16));
  return { low: of("--low"), none: of("--none"), high: of("--high") };
}

/** @param {Pick<Matrix, "scale">} matrix */
function legend({ scale }) {
  return element("p", { class: "legend" }, fixed(-scale, 2), element("i", {}), fixed(scale, 2));
}

// -- drawing and moving ------------------------------------------------------------------------------------------

/** Where the cells stand on the canvas: pixels per cell, and the corner of the first.
 * @param {HeatMap} shown
 * @returns {Placed}
 */
function placed(shown) {
  const { canvas, matrix, zoom } = shown;
  const room = canvas.clientWidth - MARGIN;
  const size = (room / Math.max(matrix.columns, matrix.rows)) * zoom;
  /** @type {(count: number) => number} */
  const most = (count) => Math.max(0, count * size - room);
  shown.left = Math.max(0, Math.min(most(matrix.columns), shown.left));
  shown.top = Math.max(0, Math.min(most(matrix.rows), shown.top));
  return { size, left: MARGIN - shown.left, top: MARGIN - shown.top, room };
}

function drawMap() {
  if (!map) return;
  const { canvas, matrix, down, along, whole: image, over } = map;
  const side = canvas.clientWidth;
  canvas.width = canvas.height = side * SHARP;
  canvas.style.touchAction = map.zoom > 1 ? "none" : "pan-y"; // a finger scrolls the page past the whole map
  const drawing = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  drawing.scale(SHARP, SHARP);
  drawing.imageSmoothingEnabled = false;
  const { size, left, top } = placed(map);
  drawing.save();
  drawing.beginPath();
  drawing.rect(MARGIN, MARGIN, side, side);
  drawing.clip();
  drawing.drawImage(image, left, top, matrix.columns * size, matrix.rows * size);
  drawing.strokeStyle = getComputedStyle(canvas).color;
  for (const [row, column, height, width] of map.boxes) drawing.strokeRect(left + column * size, top + row * size, width * size, height * size);
  const chosen = view.cell?.length ? [down.indexOf(view.cell[0]), along.indexOf(view.cell[1])] : null;
  const style = getComputedStyle(canvas);
  for (const cell of [over, chosen]) {
    if (!cell) continue;
    drawing.strokeStyle = style.color;
    drawing.lineWidth = 2;
    drawing.strokeRect(left + cell[1] * size - 1, top + cell[0] * size - 1, Math.max(size, 3) + 2, Math.max(size, 3) + 2);
  }
  drawing.restore();
  numbers(map, drawing, style, { size, left, top, side });
}

/** Unit names along the edges, as many as there is room for.
 * @param {HeatMap} shown
 * @param {CanvasRenderingContext2D} drawing
 * @param {CSSStyleDeclaration} style
 * @param {Omit<Placed, "room"> & { side: number }} placed
 */
function numbers(shown, drawing, style, { size, left, top, side }) {
  drawing.fillStyle = style.color;
  drawing.font = `11px ${style.fontFamily}`;
  const each = Math.max(1, Math.ceil(24 / size));
  /** @type {(unit: number) => string} */
  const short = (unit) => (isOutput(view.layer) ? shortName(view.layer, unit).slice(0, Math.max(3, Math.floor(size / 7))) : String(unit));
  for (let x = 0; x < shown.along.length; x += each) {
    const place = left + (x + 0.5) * size;
    if (place > MARGIN && place < side - 6) drawing.textAlign = "center", drawing.fillText(short(shown.along[x]), place, MARGIN - 6);
  }
  for (let y = 0; y < shown.down.length; y += each) {
    const place = top + (y + 0.5) * size;
    if (place > MARGIN && place < side - 4) drawing.textAlign = "right", drawing.fillText(short(shown.down[y]).slice(0, 5), MARGIN - 6, place + 4);
  }
}

/** Zoom by ``factor`` around a point of the canvas, its middle where none is given; 0 shows the whole.
 * @param {number} factor
 * @param {number[] | null} [at_]
 */
function zoomed(factor, at_ = null) {
  if (!map) return;
  const { room } = placed(map);
  const [x, y] = at_ ?? [room / 2, room / 2];
  const most = Math.max(1, (48 * Math.max(map.matrix.rows, map.matrix.columns)) / room);
  const next = factor ? Math.max(1, Math.min(most, map.zoom * factor)) : 1;
  const ratio = next / map.zoom;
  map.left = (map.left + x) * ratio - x;
  map.top = (map.top + y) * ratio - y;
  map.zoom = next;
  drawMap();
}

/** [row, column] of the cell under a pointer, as they stand on the map.
 * @param {HeatMap} shown
 * @param {MouseEvent} event
 */
function cellAt(shown, { offsetX, offsetY }) {
  const { size, left, top } = placed(shown);
  const [row, column] = [Math.floor((offsetY - top) / size), Math.floor((offsetX - left) / size)];
  const inside = offsetX >= MARGIN && offsetY >= MARGIN && row >= 0 && column >= 0 && row < shown.down.length && column < shown.along.length;
  return inside ? [row, column] : null;
}

/**
 * @param {HeatMap} shown
 * @param {number[] | null} cell
 */
function point(shown, cell) {
  shown.over = cell;
  at("map-said").textContent = cell ? sentence(shown.down[cell[0]], shown.along[cell[1]], shown.matrix) : hint();
  drawMap();
}

/**
 * @param {number} i
 * @param {number} j
 * @param {Pick<Matrix, "value">} matrix
 */
function sentence(i, j, matrix) {
  const { layer, a, b, options } = view;
  const what = options.of === "weights" ? "weight" : "correlation";
  return `${fullName(layer, a, i)} and ${fullName(layer, b, j)}: ${what} ${fixed(matrix.value(i, j), 2)}`;
}

/** @type {(shown: HeatMap, cell: number[]) => void} */
const openCell = (shown, [row, column]) => go({ cell: [shown.down[row], shown.along[column]] });

/** @param {HeatMap} shown */
function listen(shown) {
  const { canvas } = shown;
  /** @type {{ x: number, y: number, left: number, top: number, moved: boolean } | null} */
  let from = null; // where a drag began
  canvas.addEventListener("pointerdown", (event) => {
    from = { x: event.clientX, y: event.clientY, left: shown.left, top: shown.top, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from) return point(shown, cellAt(shown, event));
    const [x, y] = [event.clientX - from.x, event.clientY - from.y];
    from.moved ||= Math.abs(x) + Math.abs(y) > 4;
    Object.assign(shown, { left: from.left - x, top: from.top - y });
    return drawMap();
  });
  canvas.addEventListener("pointerup", (event) => {
    const cell = from && !from.moved ? cellAt(shown, event) : null;
    from = null;
    if (cell) openCell(shown, cell);
  });
  canvas.addEventListener("pointercancel", () => { from = null; });
  canvas.addEventListener("pointerleave", () => { if (!from) point(shown, null); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomed(event.deltaY < 0 ? 1.25 : 0.8, [event.offsetX - MARGIN, event.offsetY - MARGIN]);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    /** @type {Record<string, number[]>} */
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const by = steps[event.key];
    if (event.key === "Enter" && shown.over) openCell(shown, shown.over);
    if (!by) return;
    event.preventDefault();
    const [row, column] = shown.over ?? [0, 0].map((n, place) => n - by[place]);
    /** @type {(value: number, count: number) => number} */
    const within = (value, count) => Math.max(0, Math.min(count - 1, value));
    point(shown, [within(row + by[0], shown.down.length), within(column + by[1], shown.along.length)]);
  });
}

/** The cells of the largest values, as pairs of portraits.
 * @param {Matrix} matrix
 */
function showStrongest({ rows, columns, value }) {
  const { layer, a, b, options } = view;
  const cells = Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => [i, j, value(i, j)])).flat();
  const first = cells.filter((cell) => !Number.isNaN(cell[2])).sort((x, y) => Math.abs(y[2]) - Math.abs(x[2])).slice(0, PAIRS);
  /** @type {(cell: number[]) => HTMLElement} */
  const pair = ([i, j, found]) => element("li", {}, element("a", { class: "pair", href: address({ cell: [i, j] }), "aria-label": `${shortName(layer, i)} – ${shortName(layer, j)} ${signed(found, 2)}: ${sentence(i, j, { value })}` },
    hushed(portrait(layer, a, i, 22)), hushed(portrait(layer, b, j, 22)), element("span", { class: "under" }, element("b", {}, `${shortName(layer, i)} – ${shortName(layer, j)}`), " ", element("span", {}, signed(found, 2)))));
  replace(at("strongest"), element("h3", { id: "strongest-title" }, options.of === "weights" ? "Largest weights" : "Strongest correlations"),
    element("p", { class: "quiet" }, `Unit of ${nets[a]} on the left, of ${nets[b]} on the right.`), element("ul", {}, ...first.map(pair)));
}

/** The two units of the chosen cell.
 * @param {LayerData} data
 * @param {Matrix | null | undefined} matrix
 */
function showCell(data, matrix) {
  const { layer, a, b, cell, options } = view;
  const open = Boolean(matrix && cell.length);
  document.body.classList.toggle("chosen", open);
  at("cell").hidden = !open;
  at("strongest").hidden = open || !matrix;
  if (!open && matrix) showStrongest(matrix);
  if (!open || !matrix) return;
  replace(at("cell"), heading(`In ${layers[layer]}`, "Pair", { cell: [] }),
    options.of === "weights" && element("p", { class: "lead" }, sentence(cell[0], cell[1], matrix)),
    pairParts(data, { net: a, unit: cell[0] }, { net: b, unit: cell[1] }));
}

/** The cells in the order of the map.
 * @returns {Cell[][]}
 */
function matrixSheet() {
  if (!map) return [];
  const { matrix, down, along } = map;
  const { a, b } = view;
  return [[`${nets[a]} (rows), ${nets[b]} (columns)`, ...along], ...down.map((i) => [i, ...along.map((j) => matrix.value(i, j))])];
}
