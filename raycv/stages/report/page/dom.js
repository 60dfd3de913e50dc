// Making elements. All text that comes from the run is set as text, never as markup.

/**
 * What is there of children that may be none.
 * @param {Child[]} children
 * @returns {(Node | string)[]}
 */
function present(children) {
  return children.flatMap((child) => {
    if (Array.isArray(child)) return present(child);
    return child == null || child === false ? [] : [child instanceof Node ? child : String(child)];
  });
}

/**
 * @template {Element} T
 * @param {T} made
 * @param {Attributes} attributes
 * @param {Child[]} children
 * @returns {T}
 */
function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...present(children));
  return made;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Attributes} attributes
 * @param {...Child} children
 */
const element = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} name
 * @param {Attributes} attributes
 * @param {...Child} children
 */
const drawn = (name, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

/** A labelled choice; ``entries`` are pairs of value and label.
 * @param {string} label
 * @param {Entry[]} entries
 * @param {string | number} chosen
 * @param {(value: string) => unknown} changed
 */
function choice(label, entries, chosen, changed) {
  const options = entries.map(([value, name]) => new Option(name, String(value), false, String(value) === String(chosen)));
  const select = element("select", { name: label, onchange: (event) => changed(event.target.value) }, ...options);
  return element("label", {}, element("span", {}, label), select);
}

/** Replace what an element holds, and keep the focus on the control of the same name.
 * @param {HTMLElement} parent
 * @param {...Child} children
 */
function replace(parent, ...children) {
  const name = parent.contains(document.activeElement) ? document.activeElement?.getAttribute("name") : null;
  parent.replaceChildren(...present(children));
  const named = /** @type {NodeListOf<HTMLElement>} */ (parent.querySelectorAll("[name]"));
  if (name) [...named].find((control) => control.getAttribute("name") === name)?.focus();
}
