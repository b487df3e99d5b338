// The lines of the progress chart, from scores and reigns. Pure: no element, no drawing.

const HUGE = 1e100;

/**
 * Return the columns to draw, in the order of the log; `points` says what each place is: a dot, a reign or the end.
 *
 * Scores far on the worse side are drawn at the edge, so that they do not flatten the rest; means of champions never are.
 */
export function series(dots, reigns, lower, axis) {
  const points = merged(dots, reigns, axis);
  const range = rangeOf(dots, reigns, lower);
  const near = (value) => (value === null || value === undefined ? null : Math.min(range[1], Math.max(range[0], value)));
  const columns = { x: [], dot: [], best: [], low: [], high: [], mean: [], ring: [] };
  let [top, reign] = [null, null];
  for (const { x, dot, reign: begins } of points) {
    if (dot) top = top === null ? dot.value : lower ? Math.min(top, dot.value) : Math.max(top, dot.value);
    reign = begins || reign;
    columns.x.push(x);
    columns.dot.push(dot ? near(dot.value) : null);
    columns.best.push(near(top));
    columns.low.push(near(reign?.low));
    columns.high.push(near(reign?.high));
    columns.mean.push(near(reign?.mean));
    columns.ring.push(near(begins?.mean));
  }
  const beyond = dots.filter(({ value }) => value < range[0] || value > range[1]).length;
  return { data: Object.values(columns), points, best: top, range, beyond };
}

/** A promotion stands where its runs end; the lines go on a little behind the last of all. */
function merged(dots, reigns, axis) {
  const points = [];
  let [x, next] = [axis === "time" ? (dots[0]?.time ?? 0) : 0, 0];
  const add = (at, more) => points.push({ x: (x = Math.max(x, at)), ...more });
  const crown = (until) => {
    for (; next < reigns.length && reigns[next].seq < until; next++) add(axis === "time" ? reigns[next].time : x, { reign: reigns[next] });
  };
  dots.forEach((dot, place) => {
    crown(dot.seq);
    add(axis === "time" ? dot.time : place + 1, { dot });
  });
  crown(Infinity);
  points.push({ x: x + Math.max(axis === "time" ? 1 : 0.5, (x - points[0].x) * 0.01) });
  return points;
}

/** The range of the scores: most of them, every mean of a champion, and the intervals of the last two. */
function rangeOf(dots, reigns, lower) {
  const sorted = dots.map((dot) => dot.value).filter((value) => Math.abs(value) < HUGE).sort((a, b) => a - b);
  if (!sorted.length) return [0, 1];
  const part = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  const few = dots.length < 20;
  const proven = [...reigns.map((reign) => reign.mean), ...reigns.slice(-2).flatMap((reign) => [reign.low, reign.high])];
  const inside = proven.filter((value) => value !== null && value !== undefined && Math.abs(value) < HUGE);
  const low = Math.min(few || lower ? sorted[0] : part(0.1), ...inside);
  const high = Math.max(few || !lower ? sorted.at(-1) : part(0.9), ...inside);
  const room = (high - low) * 0.07 || Math.abs(high) * 0.05 || 1;
  return [low - room, high + room];
}
