// What can be said, searched, filtered and sorted of the units of a layer. A unit is {net, unit}.

/** @type {Record<string, { label: string, of: (data: LayerData, net: number, unit: number) => number, text: (value: number) => string }>} */
const SORTS = {
  excess: { label: "excess, mixed after", of: excessOf, text: (value) => signed(value, 2) },
  mean: { label: "mean activation", of: (data, net, unit) => data.units[net].mean[unit], text: (value) => fixed(value, 2) },
  partners: {
    label: "partners", of: (data, net, unit) => data.recurrence?.[net].partners[unit] ?? NaN,
    text: (value) => `in ${fixed(value, 0)}`,
  },
  number: { label: "unit number", of: (_, net, unit) => -unit, text: () => "" },
};
/** @type {Record<string, { label: string, keep: (data: LayerData, net: number, unit: number) => boolean }>} */
const FILTERS = {
  all: { label: "all units", keep: () => true },
  recurring: { label: "partner in every other network", keep: (data, net, unit) => data.recurrence?.[net].partners[unit] === everyone.length - 1 },
  alone: { label: "no partner in any other network", keep: (data, net, unit) => !data.units[net].state[unit] && data.recurrence?.[net].partners[unit] === 0 },
  dead: { label: "rare or dead", keep: (data, net, unit) => data.units[net].state[unit] > 0 },
};

/** @type {(view: Pick<View, "options">) => typeof SORTS[string]} */
const sortOf = ({ options }) => SORTS[options.sort] ?? SORTS.excess;
/** @type {(view: Pick<View, "options">) => typeof FILTERS[string]} */
const filterOf = ({ options }) => FILTERS[options.show] ?? FILTERS.all;

/** Whether a search finds a unit: by its number, or by the class of most of its top patches.
 * @param {string} text
 * @param {LayerData} data
 * @param {number} layer
 * @param {number} net
 * @param {number} unit
 */
function found(text, data, layer, net, unit) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return true;
  if (/^\d+$/.test(wanted)) return unit === Number(wanted);
  if (unitName(layer, unit).toLowerCase() === wanted) return true;
  const [first] = classesOf(data, net, unit);
  return first !== undefined && className(first[0]).toLowerCase().startsWith(wanted);
}

/** The units in view in their order; those without a value come last.
 * @param {Pick<View, "layer" | "a" | "options">} view
 * @returns {Valued[]}
 */
function unitsInView({ layer, a, options }) {
  const data = dataOf(layer);
  const sort = sortOf({ options });
  const filter = filterOf({ options });
  const units = (a < 0 ? nets.map((_, n) => n) : [a]).flatMap((net) =>
    Array.from({ length: data.units[net].width }, (_, unit) => ({ net, unit, value: sort.of(data, net, unit) })),
  );
  return units
    .filter(({ net, unit }) => filter.keep(data, net, unit) && found(options.q ?? "", data, layer, net, unit))
    .sort((x, y) => {
      const [left, right] = [Number(Number.isNaN(x.value)), Number(Number.isNaN(y.value))];
      return left - right || (left ? 0 : y.value - x.value) || x.unit - y.unit || x.net - y.net;
    });
}
