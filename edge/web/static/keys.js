// @ts-check
// The chart by keyboard: select points or entries of the line, zoom, move in time.

/**
 * @typedef {object} Actions what keys can do
 * @property {(factor: number) => void} zoom
 * @property {(share: number) => void} pan by a share of the visible range
 * @property {() => void} live
 */

/** @param {import("./reading.js").Reading} reading @param {Actions} on */
export function listenToKeys(reading, on) {
  const { plot } = reading;
  /** @type {Record<string, () => void>} */
  const actions = {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    ArrowUp: () => climb(1),
    ArrowDown: () => climb(-1),
    Home: () => go(neighbour(plot, -1, 1)),
    End: () => go(neighbour(plot, plot.marks.length, -1)),
    "Shift+ArrowLeft": () => on.pan(-0.2),
    "Shift+ArrowRight": () => on.pan(0.2),
    "+": () => on.zoom(0.7),
    "-": () => on.zoom(1 / 0.7),
    0: () => on.live(),
    Escape: () => go(-1),
  };
  actions["="] = actions["+"];

  /** @param {number} i */
  function go(i) {
    reading.select(i);
    reading.announce();
  }

  /** @param {1 | -1} direction */
  function step(direction) {
    const from = current();
    let found = neighbour(plot, from ?? (direction > 0 ? -1 : plot.marks.length), direction);
    while (from !== null && found >= 0 && isSame(plot, from, found)) found = neighbour(plot, found, direction);
    if (found >= 0) go(found);
  }

  /** @param {1 | -1} direction */
  function climb(direction) {
    if (plot.lineOnly) return; // it has one price at a time
    const from = current() ?? neighbour(plot, plot.marks.length, -1);
    const found = from < 0 ? -1 : above(plot, from, direction);
    if (found >= 0) go(found);
  }

  /** The index of the selected point; null if none is visible. */
  function current() {
    const p = reading.current;
    if (!p || !plot.locate(p.timestamp, p.price)) return null;
    return reading.index;
  }

  plot.host.addEventListener("keydown", (e) => {
    const shift = e.shiftKey && e.key.startsWith("Arrow") ? "Shift+" : "";
    const act = e.ctrlKey || e.altKey || e.metaKey ? undefined : actions[shift + e.key];
    if (!act) return;
    e.preventDefault();
    act();
  });
}

/**
 * The next visible mark in time; -1 if there is none.
 * @param {import("./plot.js").Plot} plot @param {number} i @param {1 | -1} direction
 */
function neighbour(plot, i, direction) {
  const points = plot.marks;
  for (let k = i + direction; k >= 0 && k < points.length; k += direction) {
    if (plot.locate(points.time(k), points.price(k))) return k;
  }
  return -1;
}

/**
 * Whether two points have equal texts, such as two payments of one transaction.
 * @param {import("./plot.js").Plot} plot @param {number} i @param {number} k
 */
const isSame = ({ marks: points }, i, k) => points.time(i) === points.time(k) && points.price(i) === points.price(k);

/**
 * The visible point that is next in price.
 * @param {import("./plot.js").Plot} plot @param {number} i @param {1 | -1} direction
 */
function above(plot, i, direction) {
  const { points, view } = plot;
  const price = points.price(i);
  const [first, end] = [points.firstAt(view.range.from), points.firstAt(view.range.to)];
  let found = -1;
  let least = Infinity;
  for (let k = first; k < end; k++) {
    const distance = direction * (points.price(k) - price);
    if (distance <= 0 || distance >= least || !plot.locate(points.time(k), points.price(k))) continue;
    [found, least] = [k, distance];
  }
  return found;
}
