// What can be taken away from the page: a link to the view, its numbers as CSV, its pictures as files.

/** @type {Partial<Record<Place, () => Cell[][]>>} */
const CSV = { overview: averagesSheet, units: unitsSheet, pairs: pairsSheet, groups: groupsSheet, matrix: matrixSheet, clusters: clustersSheet };

function showActions() {
  const found = CSV[view.place];
  replace(at("actions"),
    element("button", { type: "button", name: "link", onclick: copyLink }, "Copy link"),
    found && element("button", { type: "button", name: "csv", onclick: () => saveCsv(view.place, found()) }, "Save CSV"),
    element("span", { id: "copied", role: "status" }));
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    at("copied").textContent = "Copied";
  } catch {
    prompt("The link to this view:", location.href); // where the browser lets no page write to the clipboard
  }
}

/** Rows as a file; numbers as they are, and text in quotes where it has to be.
 * @param {string} name
 * @param {Cell[][]} rows
 */
function saveCsv(name, rows) {
  /** @type {(cell: Cell) => string} */
  const written = (cell) => (cell == null || Number.isNaN(cell) ? "" : /[",\n]/.test(String(cell)) ? `"${String(cell).replaceAll('"', '""')}"` : String(cell));
  const text = rows.map((row) => row.map(written).join(",")).join("\r\n");
  saveFile(fileName(name, "csv"), new Blob([`${text}\r\n`], { type: "text/csv" }));
}

/** @type {(name: string, suffix: string) => string} */
const fileName = (name, suffix) => `${[run.title, ...(["overview", "figures"].includes(view.place) ? [] : [layers[view.layer]]), name].join("-").replace(/[^\w.-]+/g, "-")}.${suffix}`;

/**
 * @param {string} name
 * @param {Blob} content
 */
function saveFile(name, content) {
  const url = URL.createObjectURL(content);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A canvas or a loaded picture as a PNG file.
 * @param {string} name
 * @param {HTMLCanvasElement | HTMLImageElement} picture
 */
function savePicture(name, picture) {
  let canvas = picture instanceof HTMLCanvasElement ? picture : null;
  if (!canvas && picture instanceof HTMLImageElement) {
    canvas = element("canvas", { width: picture.naturalWidth, height: picture.naturalHeight });
    canvas.getContext("2d")?.drawImage(picture, 0, 0);
  }
  canvas?.toBlob((content) => { if (content) saveFile(fileName(name, "png"), content); });
}

/** A drawing as an SVG file, with the styles that it has in the page.
 * @param {string} name
 * @param {SVGElement} drawing
 */
function saveDrawing(name, drawing) {
  const copy = /** @type {SVGElement} */ (drawing.cloneNode(true));
  const [of, made] = [drawing, copy].map((root) => [root, ...root.querySelectorAll("*")]);
  of.forEach((one, n) => {
    const style = getComputedStyle(one);
    for (const key of ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-size", "font-family"]) made[n].setAttribute(key, style.getPropertyValue(key));
  });
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  saveFile(fileName(name, "svg"), new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" }));
}

const PAPER = "Li, Y., Yosinski, J., Clune, J., Lipson, H. & Hopcroft, J. Convergent Learning: Do different neural networks learn the same representations? ICLR 2016, https://arxiv.org/abs/1511.07543.";

/** The line that says what this run is. */
function aboutRun() {
  const { version, date, data, models, trained, seeds, epochs, images } = run.about;
  const facts = [
    data && `data ${data}`,
    models.length > 0 && `${models.length > 1 ? "models" : "model"} ${models.join(", ")}`,
    seeds.length > 0 && trained && `seeds ${seeds.join(", ")}`,
    epochs && trained && counted(epochs, "epoch"),
    images && counted(images, run.of_texts ? "document" : "validation image"),
    version && `raycv ${version}`,
    date,
  ];
  return element("p", { id: "about" }, facts.filter(Boolean).join(" · "), " · ", element("code", {}, run.about.command), " · ",
    element("a", { href: "https://arxiv.org/abs/1511.07543" }, "Li et al., 2016"));
}

/** How to cite what this page shows. */
function cite() {
  const { version, date } = run.about;
  return element("details", { class: "card" }, element("summary", {}, "How to cite"),
    element("p", {}, `The method: ${PAPER}`),
    element("p", {}, `The software: The raycv developers. raycv${version ? `, version ${version}` : ""}${date ? ` (run of ${date})` : ""}. Apache-2.0.`));
}
