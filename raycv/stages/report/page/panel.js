// The chosen unit: beside the wall, and on a phone a sheet over the page.

function showPanel() {
  const panel = at("panel");
  const { layer, a, unit } = view;
  document.body.classList.toggle("chosen", unit !== null);
  panel.hidden = unit === null;
  if (unit === null) return;
  const data = dataOf(layer);
  replace(panel,
    heading(`In ${nets[a]}, ${layers[layer]}`, unitName(layer, unit), { place: "units", a: browsed(), unit: null, options: { wall: "" } }),
    strip(layer, a, unit, 56), classes(data, a, unit), summary(data, a, unit), partners(data, unit), responses(data, a, unit), predictors(data, unit), cluster(data, unit),
    element("p", { class: "quiet" }, aboutPictures(layer)));
  panel.scrollTop = 0;
  if (!wide()) panel.querySelector("h2")?.focus();
}

/** The head of a panel: where the unit is, its name, and how to close the panel.
 * @param {string} where
 * @param {string} name
 * @param {Changes} closed
 */
function heading(where, name, closed) {
  const leave = () => {
    go(closed);
    const back = closed.place === "units" ? at("wall").querySelector(".tile[tabindex='0']") : null;
    /** @type {HTMLElement} */ (back ?? at("main")).focus({ preventScroll: true });
  };
  /** @type {(by: number, label: string, sign: string) => Child} */
  const turn = (by, label, sign) => element("button", { type: "button", name: label, "aria-label": label, onclick: () => step(by) }, sign);
  return element("div", { class: "head" },
    element("div", {}, element("p", { class: "quiet" }, where), element("h2", { tabindex: -1 }, name)),
    element("div", { class: "buttons" },
      closed.place === "units" && [turn(-1, "Previous unit", "‹"), turn(1, "Next unit", "›")],
      element("button", { type: "button", class: "close", "aria-label": "Close", onclick: leave }, "✕")));
}

/**
 * @param {LayerData} data
 * @param {number} net
 * @param {number} unit
 */
function classes(data, net, unit) {
  const counts = classesOf(data, net, unit);
  if (!counts.length) return null;
  const shown = counts.slice(0, 4).map(([label, count]) => `${count} ${className(label)}`).join(", ");
  const rest = counts.slice(4).reduce((sum, [, count]) => sum + count, 0);
  return element("p", { class: "classes" }, element("span", {}, "Top patches "), shown, rest ? `, ${rest} other` : "");
}

/** The numbers of a unit by itself.
 * @param {LayerData} data
 * @param {number} net
 * @param {number} unit
 * @returns {Child[]}
 */
function summary(data, net, unit) {
  const units = data.units[net];
  const recurrence = data.recurrence?.[net];
  const facts = [
    ...(recurrence ? [["recurs in", `${recurrence.partners[unit]} of ${everyone.length - 1}`]] : []),
    ["excess, mixed after (mean)", signed(excessOf(data, net, unit))],
    ["mean activation", fixed(units.mean[unit], 2)],
    ["active in", percent(units.active_fraction[unit], 1)],
  ];
  const state = stateName[units.state[unit]];
  return [
    element("dl", { class: "summary" }, ...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
    state && element("p", { class: "note" }, `This unit is ${state}: it hardly ever varies, so it has no partner.`),
  ];
}
