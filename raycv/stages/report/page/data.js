// The run's data, as the page holds it. Networks and layers are meant by their number.
"use strict";

const at = (id) => document.getElementById(id);
const json = (id) => JSON.parse(at(id).textContent);
const run = json("run");
const { nets, everyone, layers, averages } = run; // nets: those whose units are shown

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** Every array packed as KIND:BASE64 (little-endian) in a nested object, unpacked. */
function unpacked(value) {
  if (typeof value === "string" && /^(f4|i1|i2|i4):/.test(value)) {
    const kinds = { f4: Float32Array, i1: Int8Array, i2: Int16Array, i4: Int32Array };
    return new kinds[value.slice(0, 2)](bytesOf(value.slice(3)).buffer);
  }
  if (Array.isArray(value)) return value.map(unpacked);
  if (!value || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unpacked(inner)]));
}

/** The data of a layer. Only the layer in view is kept, with the sheets of its pictures. */
let held = { layer: -1, data: null, sheets: new Map() };
function dataOf(layer) {
  if (held.layer !== layer) held = { layer, data: unpacked(json(`layer-${layer}`)), sheets: new Map() };
  return held.data;
}

// -- what is said of a unit ------------------------------------------------------------------------------------

const fixed = (value, digits = 3) => (value == null || Number.isNaN(value) ? "–" : value.toFixed(digits).replace("-", "−"));
const signed = (value, digits = 3) => (value > 0 ? `+${fixed(value, digits)}` : fixed(value, digits));
const percent = (value, digits = 0) => (value == null ? "–" : `${(100 * value).toFixed(digits)}%`);
const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

const isOutput = (layer) => run.health?.layer === layers[layer];
const className = (label) => run.classes?.[label] ?? `class ${label}`;

/** A unit of the logits is called by its class, every other by its number. */
function unitName(layer, unit) {
  return isOutput(layer) && run.classes?.[unit] ? run.classes[unit] : `unit ${unit}`;
}

const shortName = (layer, unit) => unitName(layer, unit).replace(/^unit /, "");
const fullName = (layer, net, unit) => `${unitName(layer, unit)} of ${nets[net]}`;
const stateName = ["", "dead", "rare"];

/** The classes of a unit's top patches with how many are of each, the commonest first. */
function classesOf(data, net, unit) {
  const counts = new Map();
  for (const label of data.labels?.[net].subarray(unit * run.ranks, (unit + 1) * run.ranks) ?? []) {
    if (label >= 0) counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  return [...counts].sort((x, y) => y[1] - x[1] || x[0] - y[0]);
}

const others = (net) => nets.map((_, n) => n).filter((n) => n !== net);

/** What a unit has of its partners in all other networks by correlation. */
function excessOf(data, net, unit) {
  if (data.recurrence) return data.recurrence[net].excess[unit];
  const found = others(net).map((b) => data.partners[net][b]["correlation semi"]?.excess?.[unit]);
  const known = found.filter((value) => value !== undefined && !Number.isNaN(value));
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : NaN;
}
