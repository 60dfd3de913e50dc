// Making elements. All text that comes from the run is set as text, never as markup.

function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}

const element = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const drawn = (name, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

/** A labelled choice; ``entries`` are pairs of value and label. */
function choice(label, entries, chosen, changed) {
  const options = entries.map(([value, name]) => new Option(name, value, false, String(value) === String(chosen)));
  const select = element("select", { name: label, onchange: (event) => changed(event.target.value) }, ...options);
  return element("label", {}, element("span", {}, label), select);
}

/** Replace what an element holds, and keep the focus on the control of the same name. */
function replace(parent, ...children) {
  const name = parent.contains(document.activeElement) ? document.activeElement.name : null;
  parent.replaceChildren(...children.flat().filter((child) => child != null && child !== false));
  if (name) [...parent.querySelectorAll("[name]")].find((control) => control.name === name)?.focus();
}
