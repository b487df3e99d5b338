// A layered layout for any number of proposals in one pass: a column per generation, wrapped where a generation is large.

const STEP_X = 34;
const STEP_Y = 26;
const GAP = 16;

/** Return {id: {x, y}}; `nodes` are in the order of the log, so parents come before their children. */
export function layered(nodes, aspect) {
  const layers = layersOf(nodes);
  const rows = rowsFor(layers, aspect);
  const places = {};
  let x = 0;
  for (const layer of layers) {
    const order = new Map(layer.map((node) => [node.id, middle(node, places)]));
    layer.sort((a, b) => order.get(a.id) - order.get(b.id) || a.seq - b.seq);
    const columns = Math.ceil(layer.length / rows);
    const tall = Math.ceil(layer.length / columns);
    layer.forEach((node, index) => {
      const [column, row] = [Math.floor(index / tall), index % tall];
      const here = Math.min(tall, layer.length - column * tall);
      places[node.id] = { x: x + column * STEP_X, y: (row - (here - 1) / 2) * STEP_Y };
    });
    x += columns * STEP_X + GAP;
  }
  stretch(places, x / aspect);
  return places;
}

/** Use the height that a long and narrow picture leaves free. */
function stretch(places, height) {
  const tall = Object.values(places).reduce((most, place) => Math.max(most, Math.abs(place.y) * 2), STEP_Y);
  const factor = Math.min(8, height / tall);
  if (factor > 1) for (const place of Object.values(places)) place.y *= factor;
}

/** Return the direction and distances with which dagre's picture is largest in a panel of this shape; null if too small. */
export function shapeOf(nodes, width, height) {
  const layers = layersOf(nodes);
  const largest = Math.max(1, ...layers.map((layer) => layer.length));
  const down = Math.min(width / (largest * 26), height / (layers.length * 58));
  const across = Math.min(width / (layers.length * 46), height / (largest * 26));
  if (Math.max(down, across) < 0.4) return null;
  return down >= across ? { rankDir: "TB", nodeSep: 14, rankSep: 46 } : { rankDir: "LR", nodeSep: 14, rankSep: 34 };
}

/** Return the generations: a proposal is one after the latest of its parents. */
function layersOf(nodes) {
  const depth = new Map();
  const layers = [];
  for (const node of nodes) {
    const known = node.parents.filter((parent) => depth.has(parent)).map((parent) => depth.get(parent));
    const own = known.length ? Math.max(...known) + 1 : 0;
    depth.set(node.id, own);
    (layers[own] ||= []).push(node);
  }
  return layers;
}

/** Return the rows with which the whole is about as wide as `aspect` times its height. */
function rowsFor(layers, aspect) {
  const largest = Math.max(1, ...layers.map((layer) => layer.length));
  for (let rows = 8; rows < largest; rows += 2) {
    const width = layers.reduce((sum, layer) => sum + Math.ceil(layer.length / rows) * STEP_X + GAP, 0);
    if (width <= rows * STEP_Y * aspect) return rows;
  }
  return largest;
}

function middle(node, places) {
  const known = node.parents.map((parent) => places[parent]).filter(Boolean);
  return known.length ? known.reduce((sum, place) => sum + place.y, 0) / known.length : 0;
}
