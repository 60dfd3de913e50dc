// The chart of the first screen: how units of two networks correlate above chance, layer by layer.

/** @type {{ name: "before" | "after" | "before_untrained" | "after_untrained", label: string, untrained: boolean }[]} */
const SERIES = [
  { name: "before", label: "mixed before the non-linearity", untrained: false },
  { name: "after", label: "mixed after the non-linearity", untrained: false },
  { name: "before_untrained", label: "before, untrained", untrained: true },
  { name: "after_untrained", label: "after, untrained", untrained: true },
];
const FRAME = { width: matchMedia("(min-width: 60rem)").matches ? 920 : 400, height: 290, left: 46, right: 8, top: 12, bottom: 34 };

/** @returns {Scale} */
function scales() {
  const values = averages.flatMap((row) => [
    ...SERIES.map(({ name }) => row[name]), ...(row.before_range ?? []), ...(row.after_range ?? []),
  ]).flatMap((value) => (value == null ? [] : [value]));
  const [low, high] = [Math.min(0, ...values), Math.max(0.05, ...values)];
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((size) => (high - low) / size <= 6) ?? 0.5;
  const [from, to] = [low < -step / 5 ? Math.floor(low / step) * step : low, Math.ceil(high / step) * step];
  const across = (FRAME.width - FRAME.left - FRAME.right) / averages.length;
  const down = FRAME.height - FRAME.top - FRAME.bottom;
  return {
    across,
    x: (n) => FRAME.left + (n + 0.5) * across,
    y: (value) => FRAME.top + ((to - value) / (to - from)) * down,
    ticks: Array.from({ length: Math.floor((to - from) / step + 1e-9) + 1 }, (_, n) => to - n * step),
    digits: step < 0.1 ? 2 : 1,
  };
}

/** ``pointed(n)`` is told over which layer the reader is.
 * @param {(n: number) => void} pointed
 */
function excessChart(pointed) {
  const scale = scales();
  const columns = averages.map((row, n) => column(row, n, scale, pointed));
  return drawn("svg", {
    class: "chart", viewBox: `0 0 ${FRAME.width} ${FRAME.height}`, role: "group", "aria-label": "Correlation above chance by layer",
  }, grid(scale), ...SERIES.map((series) => line(series, scale)), ...columns);
}

/** @param {Scale} scale */
function grid({ ticks, y, digits }) {
  const lines = ticks.flatMap((tick) => [
    drawn("line", { class: Math.abs(tick) < 1e-9 ? "zero" : "grid", x1: FRAME.left, x2: FRAME.width - FRAME.right, y1: y(tick), y2: y(tick) }),
    drawn("text", { class: "tick", x: FRAME.left - 8, y: y(tick) + 4, "text-anchor": "end" }, Math.abs(tick) < 1e-9 ? "0" : fixed(tick, digits)),
  ]);
  return drawn("g", { "aria-hidden": "true" }, ...lines);
}

/**
 * @param {(typeof SERIES)[number]} series
 * @param {Scale} scale
 */
function line({ name }, { x, y }) {
  const known = averages.flatMap((row, n) => (row[name] == null ? [] : [{ n, value: row[name] }]));
  const path = known.map(({ n, value }, place) => `${place && known[place - 1].n === n - 1 ? "L" : "M"}${x(n)} ${y(value)}`);
  return drawn("path", { class: `line ${name}`, d: path.join(""), "aria-hidden": "true" });
}

/** All of one layer: a link to its units, with the spread of pairs of networks and a mark for each value.
 * @param {Averages} row
 * @param {number} n
 * @param {Scale} scale
 * @param {(n: number) => void} pointed
 */
function column(row, n, { across, x, y }, pointed) {
  /** @type {(name: string, range: Ends, shift: number) => Child} */
  const spread = (name, [low, high], shift) => low != null && high != null &&
    drawn("line", { class: `spread ${name}`, x1: x(n) + shift, x2: x(n) + shift, y1: y(low), y2: y(high) });
  const marks = SERIES.map(({ name, untrained }) => {
    const value = row[name];
    return value != null && drawn("circle", { class: `mark ${name}`, cx: x(n), cy: y(value), r: untrained ? 3.5 : 5 });
  });
  const href = address({ place: "units", layer: layers.indexOf(row.layer), a: Math.max(0, view?.a ?? 0), unit: null, options: {} });
  const said = SERIES.filter(({ name }) => row[name] != null).map(({ name, label }) => `${label} ${signed(row[name])}`).join(", ");
  return drawn("a", {
    href, class: "layer", "data-layer": row.layer, "aria-label": `${row.layer}: excess over units ${said}. Show its units`,
    onmouseenter: () => pointed(n), onfocus: () => pointed(n),
  },
  drawn("rect", { class: "reach", x: x(n) - across / 2, y: 2, width: across, height: FRAME.height - 4, rx: 6 }),
  spread("before", row.before_range, -1), spread("after", row.after_range, 1), ...marks,
  drawn("text", { class: "name", x: x(n), y: FRAME.height - 12, "text-anchor": "middle" }, shortened(row.layer, across)));
}

/**
 * @param {string} name
 * @param {number} room
 */
function shortened(name, room) {
  const most = Math.max(4, Math.floor(room / 8.5));
  return name.length > most ? `…${name.slice(1 - most)}` : name;
}
