// What raycv/stages/report/stage.py and payload.py put into the page, with packed arrays unpacked, and what the script makes of it.
// Nothing of this is in the report: it is for the type checker alone.

type Numbers = Float32Array | Int8Array | Int16Array | Int32Array;
type Known = number | null | undefined; // null where the run does not know it
type OfPairs<T> = T[][]; // [a][b], null for a network with itself, which nobody asks for

interface Run {
  nets: string[]; // those whose units are shown
  everyone: string[];
  layers: string[];
  left_out: string[]; // layers whose matrices are
  title: string;
  answer: string;
  origin: string;
  averages: Averages[];
  health: { layer: string | null; broken_pairs: [string, string][] } | null;
  accuracies: Record<string, number>;
  about: About;
  sample: { images: Numbers; labels: Numbers; tile: number; columns: number; per_sheet: number; index: Numbers } | null;
  classes: string[] | null;
  units: number;
  ranks: number;
  false_discoveries: number;
  sparse_decay: number;
  pictured: boolean; of_texts: boolean;
  missing: Record<string, string>;
  recurring: Record<string, number>; // units by layer
  effects: { title: string; text: string }[];
}

interface About {
  version: string | null; date: string | null; data: string | null; models: string[]; trained: boolean; seeds: number[];
  epochs: number | null; images: number | null; command: string;
}

type Average =
  | "correlation" | "correlation_untrained" | "after" | "after_untrained" | "before" | "before_untrained"
  | "beyond_chance" | "beyond_chance_untrained" | "estimated_share" | "estimated_share_untrained" | "one_to_one" | "halves"
  | "same_index" | "same_index_chance" | "by_mi";
type Ends = [Known, Known];
type Averages = Record<Average, Known> & {
  layer: string; before_range: Ends; after_range: Ends; intervals: Partial<Record<Average, [number, number]>>;
};

interface LayerData {
  units: { width: number; mean: Numbers; std: Numbers; active_fraction: Numbers; state: Numbers }[];
  partners: OfPairs<Record<string, Match>>; // by similarity and method
  correlations?: OfPairs<Packed | null>; // of the earlier network with the later one
  weights?: OfPairs<Packed>;
  recurrence?: { partners: Numbers; mutual: Numbers; excess: Numbers; q: Numbers; group: Numbers }[];
  predictors?: OfPairs<{ decay: number; r2: Numbers; used: Numbers; unit: Numbers; weight: Numbers }[]>;
  clusters?: OfPairs<Clustering[]>;
  labels?: Numbers[];
  images?: Numbers[]; // of the top patches
  sample?: Sample;
  contexts?: [string, string, string][][][]; // of language models, by network, unit and rank: text before, token, text after
  pictures: Pictures | null;
}
interface Match { unit: Numbers; value: Numbers; chance?: Numbers; excess?: Numbers; q?: Numbers }
interface Sample { // nets: null for those without images
  images: number; boxes: Numbers; nets: { low: Numbers; high: Numbers; values: Numbers; box?: Numbers }[];
}
interface Packed { scale: number; values: Numbers }
interface Clustering {
  k: number; is_default: boolean; chosen: boolean; threshold: number; size_limit: number; modularity: Known; mixed: Known;
  a: Numbers; b: Numbers; between: Numbers; within: Numbers;
}
interface Sheets { columns: number; per_sheet: number; index: Numbers[] }
interface Pictures { tile: number; ranks: number; method: string; patches: Sheets; drives: Sheets }
type Picture = ["patches" | "drives", number]; // with its rank

type Place = "overview" | "units" | "pairs" | "groups" | "matrix" | "clusters" | "figures" | "words";
type Options = Record<string, string>;
interface View {
  place: Place;
  layer: number;
  a: number; // -1 for all networks
  b: number;
  unit: number | null;
  cell: number[]; // the units of a row and a column, or none
  options: Options;
  of?: string; // the figure in view
  wrong: string[]; // what the address says that this run does not have
}
type Changes = Partial<View>;
type Cell = string | number | null | undefined; // of a CSV file
interface Unit { net: number; unit: number }
interface Valued extends Unit { value: number }

interface Matrix { scale: number; rows: number; columns: number; value: (i: number, j: number) => number }
interface HeatMap {
  key: string;
  matrix: Matrix;
  down: number[];
  along: number[];
  canvas: HTMLCanvasElement;
  zoom: number;
  left: number;
  top: number;
  over: number[] | null;
  whole: HTMLCanvasElement;
  boxes: number[][];
}
interface Placed { size: number; left: number; top: number; room: number }

type Child = Node | string | number | null | undefined | false | Child[];
interface Attributes {
  onclick?: (event: MouseEvent) => unknown;
  onchange?: (event: Event & { target: HTMLSelectElement }) => unknown;
  oninput?: (event: Event & { target: HTMLInputElement }) => unknown;
  [name: string]: string | number | boolean | null | undefined | ((event: any) => unknown);
}
type Entry = [string | number, string]; // a value and its label

interface Scale { across: number; x: (n: number) => number; y: (value: number) => number; ticks: number[]; digits: number }

interface HTMLCanvasElement { draw?: (() => void) | null }
