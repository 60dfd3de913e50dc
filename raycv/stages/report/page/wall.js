// The wall of units: portraits to browse, with search, filter and sort.

const CHUNK = 240; // portraits shown at once
/** @type {{ key: string, units: Valued[], shown: number }} */
let wall = { key: "", units: [], shown: 0 };

function showUnits() {
  unitTools();
  const key = JSON.stringify([view.layer, browsed(), view.options.q, view.options.show, view.options.sort]);
  if (wall.key !== key) {
    wall = { key, units: unitsInView({ ...view, a: browsed() }), shown: 0 };
    at("wall").replaceChildren();
    at("wall").classList.toggle("all", browsed() < 0);
    more();
    at("wall").scrollTop = 0;
  }
  at("wall-count").textContent = `${counted(wall.units.length, "unit")} of ${browsed() < 0 ? "all networks" : nets[browsed()]} in ${layers[view.layer]}, ${filterOf(view).label === "all units" ? "" : `${filterOf(view).label}, `}by ${sortOf(view) === SORTS.excess ? "excess over units mixed after the non-linearity, mean over the other networks" : sortOf(view).label}`;
  mark();
  showPanel();
}

/** The data of the layer in view. */
const data = () => dataOf(view.layer);

/** @returns {Cell[][]} */
function unitsSheet() {
  const { layer } = view;
  return [["layer", "net", "unit", "state", "mean", "std", "active_fraction", "excess_mixed_after", "partners", "q", "recurring_group"],
    ...wall.units.map(({ net, unit }) => {
      const [of, recurrence] = [data().units[net], data().recurrence?.[net]];
      return [layers[layer], nets[net], unit, stateName[of.state[unit]], of.mean[unit], of.std[unit], of.active_fraction[unit],
        excessOf(data(), net, unit), recurrence?.partners[unit] ?? "", recurrence?.q[unit] ?? "", recurrence?.group[unit] ?? ""];
    })];
}

/** The network whose units are on the wall: all of them (-1) stay while one unit is looked at. */
const browsed = () => (view.options.wall === "all" ? -1 : view.a);

function unitTools() {
  const { layer, options } = view;
  /** @type {Entry[]} */
  const all = nets.length > 1 ? [[-1, nets.length < everyone.length ? "all of these" : "all networks"]] : [];
  const of = dataOf(layer);
  const filters = Object.entries(FILTERS).filter(([name]) => of.recurrence || !["recurring", "alone"].includes(name));
  const sorts = Object.entries(SORTS).filter(([name]) => of.recurrence || name !== "partners");
  const search = element("input", {
    type: "search", name: "search", id: "search", value: options.q ?? "", placeholder: of.labels ? "number or class" : "number",
    autocomplete: "off", oninput: (event) => go({ unit: null, a: browsed(), options: { q: event.target.value, wall: "" } }, true),
  });
  const tools = [
    choice("Layer", numbered(layers), layer, (value) => go({ layer: Number(value), a: browsed(), unit: null, options: { q: "", wall: "" } })),
    choice("Network", [...numbered(nets), ...all], browsed(), (value) => go({ a: Number(value), unit: null, options: { wall: "" } })),
    choice("Show", filters.map(([name, { label }]) => [name, label]), options.show ?? "all", (value) => go({ unit: null, a: browsed(), options: { show: value === "all" ? "" : value, wall: "" } })),
    choice("Sort by", sorts.map(([name, { label }]) => [name, label]), options.sort ?? "excess", (value) => go({ options: { sort: value === "excess" ? "" : value } })),
    element("label", {}, element("span", {}, "Search"), search),
  ];
  const focused = document.activeElement instanceof HTMLInputElement && document.activeElement.id === "search";
  const typing = focused && /** @type {HTMLInputElement} */ (document.activeElement).selectionStart;
  replace(at("unit-tools"), tools);
  if (typing !== false && document.activeElement?.id === "search") search.setSelectionRange(typing, typing);
}

/** Show the next portraits. */
function more() {
  at("wall").querySelector(".more")?.remove();
  const next = wall.units.slice(wall.shown, wall.shown + CHUNK);
  at("wall").append(...next.map(tile));
  wall.shown += next.length;
  const rest = wall.units.length - wall.shown;
  if (rest > 0) at("wall").append(element("button", { type: "button", class: "more", onclick: more }, `Show ${Math.min(rest, CHUNK)} more of ${rest}`));
  if (!wall.units.length) at("wall").append(element("p", { class: "nothing" }, "No unit is like this. Change the filter or the search."));
}

/** @param {Valued} unit */
function tile({ net, unit, value }) {
  const { layer } = view;
  const of = dataOf(layer);
  const state = stateName[of.units[net].state[unit]];
  const partners = of.recurrence?.[net].partners[unit];
  const name = fullName(layer, net, unit);
  const text = state || (Number.isNaN(value) ? "–" : sortOf(view).text(value));
  const everywhere = partners === everyone.length - 1;
  const where = partners === undefined ? "" : `, recurs in ${partners} of ${everyone.length - 1}`;
  const called = browsed() < 0 ? `${nets[net]} ${shortName(layer, unit)}` : shortName(layer, unit);
  return element("a", {
    class: `tile${state ? " still" : ""}`, href: to(net, unit), "data-net": net, "data-unit": unit, tabindex: -1,
    "aria-label": `${called} ${text}: ${name}${state ? `, ${state}` : ""}${where}`, title: `${name}${where}`,
    onclick: (event) => {
      event.preventDefault();
      choose(net, unit);
    },
  },
  hushed(portrait(layer, net, unit, 26)) ?? element("span", { class: "blank" }),
  element("span", { class: "under" }, element("b", {}, called), " ", element("span", {}, everywhere ? element("i", { class: "everywhere", "aria-hidden": "true" }) : "", text)));
}

/** @type {(net: number, unit: number) => string} */
const to = (net, unit) => address({ place: "units", a: net, b: view.b === net ? partner(net) : view.b, unit, options: { ...view.options, wall: browsed() < 0 ? "all" : "" } });

/**
 * @param {number} net
 * @param {number} unit
 * @param {boolean} [quietly]
 */
function choose(net, unit, quietly = false) {
  go({ place: "units", a: net, b: view.b === net ? partner(net) : view.b, unit, options: { wall: browsed() < 0 ? "all" : "" } }, quietly);
}

/** Mark the unit in view; it is the one that Tab stops at. */
function mark() {
  /** @type {HTMLElement | undefined} */
  let here;
  /** @type {NodeListOf<HTMLElement>} */
  const tiles = at("wall").querySelectorAll(".tile");
  for (const made of tiles) {
    const same = view.unit !== null && Number(made.dataset.unit) === view.unit && Number(made.dataset.net) === view.a;
    if (same) made.setAttribute("aria-current", "true");
    else made.removeAttribute("aria-current");
    made.tabIndex = same ? 0 : -1;
    if (same) here = made;
  }
  if (!here && tiles.length) tiles[0].tabIndex = 0;
  if (here && wide()) here.scrollIntoView({ block: "nearest" });
}

/** Go ``step`` units on in the order of the wall.
 * @param {number} by
 */
function step(by) {
  const here = wall.units.findIndex(({ net, unit }) => net === view.a && unit === view.unit);
  const next = here < 0 ? 0 : Math.max(0, Math.min(wall.units.length - 1, here + by));
  if (!wall.units[next] || next === here) return;
  while (next >= wall.shown) more();
  const followed = at("wall").contains(document.activeElement);
  choose(wall.units[next].net, wall.units[next].unit, view.unit !== null);
  if (followed) /** @type {HTMLElement | null} */ (at("wall").querySelector("[aria-current]"))?.focus({ preventScroll: !wide() });
}

/** Units in a row of the wall. */
function across() {
  const tiles = [.../** @type {NodeListOf<HTMLElement>} */ (at("wall").querySelectorAll(".tile"))];
  const top = tiles[0]?.offsetTop;
  const found = tiles.findIndex((made) => made.offsetTop !== top);
  return found < 0 ? tiles.length : found;
}
