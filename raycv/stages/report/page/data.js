// The run's data, as the page holds it. Networks and layers are meant by their number.
"use strict";

/** @type {(id: string) => HTMLElement} */
const at = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
/** @type {(id: string) => any} */
const json = (id) => JSON.parse(at(id).textContent ?? "");
/** @type {Run} */
const run = unpacked(json("run"));
const { nets, everyone, layers, averages } = run; // nets: those whose units are shown

/**
 * @param {string} base64
 * @returns {Uint8Array<ArrayBuffer>}
 */
function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** Every array packed as KIND:BASE64 (little-endian) in a nested object, unpacked.
 * @param {any} value
 * @returns {any}
 */
function unpacked(value) {
  if (typeof value === "string" && /^(f4|i1|i2|i4):/.test(value)) {
    /** @type {Record<string, Float32ArrayConstructor | Int8ArrayConstructor | Int16ArrayConstructor | Int32ArrayConstructor>} */
    const kinds = { f4: Float32Array, i1: Int8Array, i2: Int16Array, i4: Int32Array };
    return new kinds[value.slice(0, 2)](bytesOf(value.slice(3)).buffer);
  }
  if (Array.isArray(value)) return value.map(unpacked);
  if (!value || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unpacked(inner)]));
}

/** Networks or layers as entries of a choice. @type {(names: string[]) => Entry[]} */
const numbered = (names) => names.map((name, n) => [n, name]);

/** The data of a layer. Only the layer in view is kept, with the sheets of its pictures. */
/** @type {{ layer: number, data: LayerData | null, sheets: Map<string, Promise<ImageBitmap>> }} */
let held = { layer: -1, data: null, sheets: new Map() };
/**
 * @param {number} layer
 * @returns {LayerData}
 */
function dataOf(layer) {
  if (held.layer === layer && held.data) return held.data;
  const data = unpacked(json(`layer-${layer}`));
  held = { layer, data, sheets: new Map() };
  return data;
}

// -- what is said of a unit ------------------------------------------------------------------------------------

/** @type {(value: Known, digits?: number) => string} */
const fixed = (value, digits = 3) => (value == null || Number.isNaN(value) ? "–" : value.toFixed(digits).replace("-", "−"));
/** @type {(value: Known, digits?: number) => string} */
const signed = (value, digits = 3) => (value != null && value > 0 ? `+${fixed(value, digits)}` : fixed(value, digits));
/** @type {(value: Known, digits?: number) => string} */
const percent = (value, digits = 0) => (value == null ? "–" : `${(100 * value).toFixed(digits)}%`);
/** @type {(count: number, what: string) => string} */
const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

/** @type {(layer: number) => boolean} */
const isOutput = (layer) => run.health?.layer === layers[layer];
/** @type {(label: number) => string} */
const className = (label) => run.classes?.[label] ?? `class ${label}`;

/** A unit of the logits is called by its class, every other by its number.
 * @param {number} layer
 * @param {number} unit
 */
function unitName(layer, unit) {
  return isOutput(layer) && run.classes?.[unit] ? run.classes[unit] : `unit ${unit}`;
}

/** @type {(layer: number, unit: number) => string} */
const shortName = (layer, unit) => unitName(layer, unit).replace(/^unit /, "");
/** @type {(layer: number, net: number, unit: number) => string} */
const fullName = (layer, net, unit) => `${unitName(layer, unit)} of ${nets[net]}`;
const stateName = ["", "dead", "rare"];

/** The classes of a unit's top patches with how many are of each, the commonest first.
 * @param {LayerData} data
 * @param {number} net
 * @param {number} unit
 * @returns {[number, number][]}
 */
function classesOf(data, net, unit) {
  const counts = new Map();
  for (const label of data.labels?.[net].subarray(unit * run.ranks, (unit + 1) * run.ranks) ?? []) {
    if (label >= 0) counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  return [...counts].sort((x, y) => y[1] - x[1] || x[0] - y[0]);
}

/** @type {(net: number) => number[]} */
const others = (net) => nets.map((_, n) => n).filter((n) => n !== net);

/** What a unit has of its partners in all other networks by correlation.
 * @param {LayerData} data
 * @param {number} net
 * @param {number} unit
 * @returns {number}
 */
function excessOf(data, net, unit) {
  if (data.recurrence) return data.recurrence[net].excess[unit];
  const found = others(net).map((b) => data.partners[net][b]["correlation semi"]?.excess?.[unit]);
  const known = found.filter((value) => value !== undefined).filter((value) => !Number.isNaN(value));
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : NaN;
}
