// Bringing the page in line with its address, and the keys.

/** @type {Record<Place, () => void>} */
const SHOW = { overview: showOverview, units: showUnits, pairs: showPairs, groups: showGroups, matrix: showMatrix, clusters: showClusters, figures: showFigures, words: () => {} };
/** @type {Record<Place, string>} */
const TITLES = { overview: "Overview", units: "Units", pairs: "Pairs", groups: "Across networks", matrix: "Matrices", clusters: "Clusters", figures: "Figures", words: "Glossary" };

function show() {
  const before = view?.place;
  view = parsed(location.hash);
  document.body.classList.remove("chosen");
  for (const name of VIEWS) at(name).hidden = name !== view.place;
  tabs();
  SHOW[view.place]();
  showActions();
  document.title = `${titled()} – ${run.title} – raycv`;
  at("wrong").textContent = view.wrong.length ? `This link does not fit this run: ${view.wrong.join("; ")}. Shown instead: ${titled()}.` : "";
  at("wrong").hidden = !view.wrong.length;
  if (before && before !== view.place) scrollTo(0, 0);
}

/** What is in view, in a few words. */
function titled() {
  const { place, layer, a, b, unit, cell } = view;
  if (place === "units") return unit === null ? `Units of ${layers[layer]}` : `${fullName(layer, a, unit)} in ${layers[layer]}`;
  if (cell.length) return `${fullName(layer, a, cell[0])} and ${fullName(layer, b, cell[1])} in ${layers[layer]}`;
  if (place === "groups") return `Units of ${layers[layer]} across networks`;
  return ["pairs", "matrix", "clusters"].includes(place) ? `${TITLES[place]} of ${layers[layer]}, ${nets[a]} and ${nets[b]}` : TITLES[place];
}

function tabs() {
  /** @type {(name: Place) => string} */
  const first = (name) => {
    if (name !== "units") return address({ place: name, unit: null, cell: [], a: Math.max(0, view.a), options: {} });
    const [best] = wide() ? unitsInView({ layer: view.layer, a: Math.max(0, view.a), options: {} }) : [];
    return address({ place: "units", a: Math.max(0, view.a), unit: best?.unit ?? null, options: {} });
  };
  replace(at("views"), VIEWS.map((name) => element("a", {
    name, href: first(name), "aria-current": view.place === name ? "page" : null,
  }, TITLES[name])));
  at("views").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/** The appendix: a list of what there is, and the figure that the address asks for. */
function showFigures() {
  const shown = [...document.querySelectorAll("#figures figure")];
  at("contents").replaceChildren(element("ul", {}, ...shown.map((figure, n) =>
    element("li", {}, element("a", { href: `#/figures/${n}` }, figure.querySelector("figcaption")?.textContent)))));
  for (const figure of shown) if (!figure.querySelector(".buttons")) figure.querySelector("figcaption")?.after(figureTools(/** @type {HTMLElement} */ (figure)));
  if (view.of !== undefined && !shown[Number(view.of)]) view.wrong.push(`it has ${counted(shown.length, "figure")}, numbered from 0, not “${view.of}”`);
  if (view.of !== undefined) shown[Number(view.of)]?.scrollIntoView();
}

/** @param {HTMLElement} figure */
function figureTools(figure) {
  const picture = /** @type {HTMLImageElement} */ (figure.querySelector("img"));
  const zoom = element("button", { type: "button", "aria-pressed": "false", onclick: () => {
    const large = figure.classList.toggle("large");
    zoom.setAttribute("aria-pressed", String(large));
  } }, "Enlarge");
  return element("div", { class: "buttons" }, zoom, element("button", { type: "button", onclick: () => savePicture(figure.dataset.name ?? "figure", picture) }, "Save PNG"));
}

/** @param {KeyboardEvent} event */
function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target instanceof Element ? event.target : null;
  const typing = target?.matches("input, select, textarea");
  if (event.key === "Escape") return leave();
  if (event.key === "/" && !typing) {
    event.preventDefault();
    if (view.place !== "units") go({ place: "units", unit: null, a: Math.max(0, view.a), options: {} });
    return at("search").focus();
  }
  const row = across();
  /** @type {Record<string, number>} */
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row };
  const by = steps[event.key];
  if (!by || typing || view.place !== "units" || target?.closest("canvas")) return;
  event.preventDefault();
  return step(by);
}

/** @type {(id: string) => HTMLElement | null} */
const closing = (id) => at(id).querySelector(".close");

function leave() {
  if (view.place === "units" && view.unit !== null) closing("panel")?.click();
  if (view.place === "matrix" && view.cell?.length) closing("cell")?.click();
  if (view.place === "pairs" && view.cell?.length) closing("pair")?.click();
}

document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault(); // the address stays that of the view
  at("main").focus();
});
addEventListener("hashchange", show);
addEventListener("keydown", pressed);
addEventListener("resize", () => { if (view.place === "matrix") drawMap(); });
matchMedia("print").addEventListener("change", () => { if (map) drawMap(); }); // in the colours of paper
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  map = null;
  if (view.place === "matrix") show();
});
show();
