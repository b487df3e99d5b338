// Labels of the lineage that do not overlap: who comes first keeps its label, and one that would cover another is left out.

const FONT = "system-ui, sans-serif";
const CELL = 64;
const MOST = 80; // labels in one picture

let pen = null;

/** The width of a text in pixels. */
function widthOf(text, font) {
  pen ||= document.createElement("canvas").getContext("2d");
  pen.font = `${font} ${FONT}`;
  return pen.measureText(text).width;
}

/**
 * Return the ids that may show their label, which stands below its node.
 *
 * `nodes` are {id, x, y, size, text, font, above}, the most important first; labels of those `above` may cover other nodes; letters are drawn `letter` times as large.
 */
export function uncrowded(nodes, letter) {
  const cells = new Map();
  const kept = new Set();
  const near = ({ left, right, top, bottom }) => {
    const keys = [];
    for (let x = Math.floor(left / CELL); x <= Math.floor(right / CELL); x++)
      for (let y = Math.floor(top / CELL); y <= Math.floor(bottom / CELL); y++) keys.push(`${x} ${y}`);
    return keys;
  };
  const take = (box) => {
    for (const key of near(box)) (cells.get(key) || cells.set(key, []).get(key)).push(box);
  };
  const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  for (const { id, x, y, size } of nodes) take({ id, left: x - size / 2, right: x + size / 2, top: y - size / 2, bottom: y + size / 2 });
  for (const { id, x, y, size, text, font, above } of nodes) {
    if (!text || kept.size >= MOST) continue;
    const half = letter * (widthOf(text, font) / 2 + 3);
    const top = y + size / 2 + 1;
    const box = { id, left: x - half, right: x + half, top, bottom: top + letter * (parseInt(font.replace(/\D*/, ""), 10) * 1.3 + 4) };
    const covers = (other) => other.id !== id && (other.isLabel || !above) && meets(box, other);
    if (near(box).some((key) => (cells.get(key) || []).some(covers))) continue;
    kept.add(id);
    take({ ...box, isLabel: true });
  }
  return kept;
}
