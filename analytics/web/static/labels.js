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
 * Return {id: side} of the labels that may show: below its node, or above, right or left of it where that covers another node or label.
 *
 * `nodes` are {id, x, y, size, text, font, always}, the most important first; those `always` shown stand below, over nodes, where no side is free;
 * letters are drawn `letter` times as large.
 */
export function uncrowded(nodes, letter) {
  const cells = new Map();
  const kept = new Map();
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
  const isFree = (box, covers) => !near(box).some((key) => (cells.get(key) || []).some((other) => other.id !== box.id && covers(other) && meets(box, other)));
  for (const { id, x, y, size } of nodes) take({ id, left: x - size / 2, right: x + size / 2, top: y - size / 2, bottom: y + size / 2 });
  for (const { id, x, y, size, text, font, always } of nodes) {
    if (!text || kept.size >= MOST) continue;
    const wide = letter * (widthOf(text, font) + 6);
    const tall = letter * (parseInt(font.replace(/\D*/, ""), 10) * 1.3 + 4);
    const away = size / 2 + 1;
    const sides = [["below", x - wide / 2, y + away], ["above", x - wide / 2, y - away - tall], ["right", x + away, y - tall / 2], ["left", x - away - wide, y - tall / 2]]
      .map(([side, left, top]) => ({ id, side, left, right: left + wide, top, bottom: top + tall }));
    const box = sides.find((each) => isFree(each, () => true)) || (always && sides.find((each) => isFree(each, (other) => other.isLabel)));
    if (!box) continue;
    kept.set(id, box.side);
    take({ ...box, isLabel: true });
  }
  return kept;
}
