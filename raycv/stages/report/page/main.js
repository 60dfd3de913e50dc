// Bringing the page in line with its address, and the keys.

/** @type {Record<Place, () => void>} */
const SHOW = { overview: showOverview, units: showUnits, matrix: showMatrix, clusters: showClusters, figures: showFigures, words: () => {} };
const TITLES = { overview: "Overview", units: "Units", matrix: "Matrices", clusters: "Clusters", figures: "Figures", words: "Glossary" };

function show() {
  const before = view?.place;
  view = parsed(location.hash);
  document.body.classList.remove("chosen");
  for (const name of VIEWS) at(name).hidden = name !== view.place;
  tabs();
  SHOW[view.place]();
  if (before && before !== view.place) scrollTo(0, 0);
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
}

/** The appendix: a list of what there is, and the figure that the address asks for. */
function showFigures() {
  const shown = [...document.querySelectorAll("#figures figure")];
  at("contents").replaceChildren(element("ul", {}, ...shown.map((figure, n) =>
    element("li", {}, element("a", { href: `#/figures/${n}` }, figure.querySelector("figcaption")?.textContent)))));
  if (view.of !== undefined) shown[Number(view.of)]?.scrollIntoView();
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
}

addEventListener("hashchange", show);
addEventListener("keydown", pressed);
addEventListener("resize", () => { if (view.place === "matrix") drawMap(); });
matchMedia("print").addEventListener("change", () => { if (map) drawMap(); }); // in the colours of paper
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  map = null;
  if (view.place === "matrix") show();
});
show();
