// @ts-check
// The chart by wheel, mouse and touch.

/** @typedef {{x: number, y: number}} Place CSS pixels from the chart's corner */

/**
 * @typedef {object} Handlers
 * @property {(factor: number, x: number) => void} zoom
 * @property {(pixels: number) => void} pan to the right
 * @property {(at: Place | null) => void} point null: none
 * @property {() => void} reset
 */

const CLICK_SLIP = 4; // pixels that the pointer may move in a click or tap

/** @param {HTMLElement} host @param {Handlers} on */
export function listenToGestures(host, on) {
  /** @type {Map<number, Place>} */
  const down = new Map();
  let slipped = 0;

  /** @param {PointerEvent} e */
  function press(e) {
    if (e.button !== 0) return;
    if (down.size === 0) slipped = 0;
    down.set(e.pointerId, placeOf(host, e));
    host.setPointerCapture(e.pointerId);
  }

  /** @param {PointerEvent} e */
  function move(e) {
    const at = placeOf(host, e);
    const before = down.get(e.pointerId);
    if (!before) return e.pointerType === "touch" ? undefined : on.point(at);
    slipped += Math.abs(at.x - before.x) + Math.abs(at.y - before.y);
    const others = [...down].filter(([id]) => id !== e.pointerId).map(([, place]) => place);
    down.set(e.pointerId, at);
    if (others.length === 1) pinch(others[0], before, at);
    else if (others.length === 0 && slipped > CLICK_SLIP) on.pan(at.x - before.x);
  }

  /** @param {Place} other @param {Place} before @param {Place} at */
  function pinch(other, before, at) {
    on.pan((at.x - before.x) / 2);
    on.zoom(distance(before, other) / distance(at, other), (at.x + other.x) / 2);
  }

  /** @param {PointerEvent} e */
  function release(e) {
    if (!down.delete(e.pointerId) || down.size > 0) return;
    if (e.type === "pointerup" && slipped <= CLICK_SLIP) on.point(placeOf(host, e));
  }

  /** @param {WheelEvent} e */
  function wheel(e) {
    e.preventDefault();
    const pixels = e.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) return on.pan(-e.deltaX * pixels);
    on.zoom(Math.exp(0.002 * Math.max(-300, Math.min(300, e.deltaY * pixels))), placeOf(host, e).x);
  }

  host.addEventListener("pointerdown", press);
  host.addEventListener("pointermove", move);
  host.addEventListener("pointerup", release);
  host.addEventListener("pointercancel", release);
  host.addEventListener("pointerleave", (e) => e.pointerType !== "touch" && down.size === 0 && on.point(null));
  host.addEventListener("wheel", wheel, { passive: false });
  host.addEventListener("dblclick", on.reset);
}

/** @param {HTMLElement} host @param {MouseEvent} e @returns {Place} */
function placeOf(host, e) {
  const { left, top } = host.getBoundingClientRect();
  return { x: e.clientX - left, y: e.clientY - top };
}

/** @param {Place} a @param {Place} b */
const distance = (a, b) => Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
