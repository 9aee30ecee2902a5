// @ts-check
// The points as a density: each adds a small disc to sums per device pixel, and a lookup turns the sums into colours. So
// overlapping points are stronger than single ones, and thousands cost no more canvas calls than one.

import { pointColors } from "./palette.js";

const LEVELS = 16; // of age
const FRESH = 64; // what a fresh point adds to its pixels, of 255: four of them are nearly the strongest colour
const FADE = 1.6; // above 1: points fade soon at first, so that the newest stand out
const RIM = 0.16; // of that, at most, around a point: neighbours add up to a haze before they overlap
const RIM_WIDTH = 0.7; // of the point's size

export class PointImage {
  #width = 0;
  #height = 0;
  #size = 0;
  #margin = 0; // around a point, for its rim
  #padding = 0; // around the box, so that points at its edges are whole
  #inside = new Uint8ClampedArray(0); // sums of the points inside the interval; clamped, so they saturate
  #outside = new Uint8ClampedArray(0);
  #words = [new Uint32Array(0), new Uint32Array(0)]; // the same, four pixels at a time
  #pixels = new Uint32Array(0);
  #image = new ImageData(1, 1);
  #canvas = document.createElement("canvas");
  #discs = new Uint8Array(0); // one for each level of age
  #faintest = 0;

  /**
   * Begins a picture.
   * @param {number} width @param {number} height of the box, in device pixels @param {number} size of a point
   */
  begin(width, height, size) {
    const { faintest } = pointColors();
    if (size !== this.#size || faintest !== this.#faintest) this.#makeDiscs(size, faintest);
    const [fullWidth, fullHeight] = [4 * Math.ceil((width + 2 * this.#padding) / 4), height + 2 * this.#padding];
    if (fullWidth !== this.#width || fullHeight !== this.#height) this.#resize(fullWidth, fullHeight);
    this.#inside.fill(0);
    this.#outside.fill(0);
  }

  /**
   * @param {number} x @param {number} y device pixels in the box
   * @param {number} youth from 0, the oldest, to 1
   * @param {boolean} inside whether it is inside the interval
   */
  add(x, y, youth, inside) {
    const side = this.#size + 2 * this.#margin;
    const discs = this.#discs;
    const sums = inside ? this.#inside : this.#outside;
    const corner = this.#padding - this.#margin - (this.#size >> 1);
    let disc = Math.min(LEVELS - 1, Math.floor(LEVELS * youth)) * side * side;
    let at = (y + corner) * this.#width + x + corner;
    for (let row = 0; row < side; row++, at += this.#width - side) {
      for (let column = 0; column < side; column++) sums[at++] += discs[disc++];
    }
  }

  /** Draws the picture. @param {CanvasRenderingContext2D} c @param {number} left @param {number} top of the box */
  draw(c, left, top) {
    this.#colour();
    this.#context.putImageData(this.#image, 0, 0);
    c.drawImage(this.#canvas, left - this.#padding, top - this.#padding);
  }

  /** Turns the sums into colours; most pixels have none. */
  #colour() {
    const { inside: insideColors, outside: outsideColors } = pointColors();
    const [insideWords, outsideWords] = this.#words;
    const [inside, outside, pixels] = [this.#inside, this.#outside, this.#pixels];
    pixels.fill(0);
    for (let word = 0; word < insideWords.length; word++) {
      if ((insideWords[word] | outsideWords[word]) === 0) continue;
      for (let at = 4 * word; at < 4 * word + 4; at++) {
        const sum = Math.min(255, inside[at] + outside[at]);
        pixels[at] = inside[at] >= outside[at] ? insideColors[sum] : outsideColors[sum];
      }
    }
  }

  get #context() {
    return /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d", { willReadFrequently: true }));
  }

  /** @param {number} width a multiple of 4 @param {number} height */
  #resize(width, height) {
    [this.#width, this.#height] = [width, height];
    [this.#canvas.width, this.#canvas.height] = [width, height];
    [this.#inside, this.#outside] = [new Uint8ClampedArray(width * height), new Uint8ClampedArray(width * height)];
    this.#words = [new Uint32Array(this.#inside.buffer), new Uint32Array(this.#outside.buffer)];
    this.#image = new ImageData(width, height);
    this.#pixels = new Uint32Array(this.#image.data.buffer);
  }

  /** @param {number} size @param {number} faintest */
  #makeDiscs(size, faintest) {
    [this.#size, this.#faintest] = [size, faintest];
    this.#margin = Math.max(1, Math.round(RIM_WIDTH * size));
    this.#padding = this.#margin + size;
    const disc = discOf(size, this.#margin);
    this.#discs = new Uint8Array(LEVELS * disc.length);
    for (let level = 0; level < LEVELS; level++) {
      const strength = FRESH * (faintest + (1 - faintest) * (level / (LEVELS - 1)) ** FADE);
      this.#discs.set(disc.map((share) => Math.round(strength * share)), level * disc.length);
    }
  }
}

/**
 * How much of a point's strength the pixels have, in a square of size + 2 * margin: all inside, a smooth rim around.
 * @param {number} size @param {number} margin
 */
function discOf(size, margin) {
  const side = size + 2 * margin;
  const middle = (side - 1) / 2;
  return Float64Array.from({ length: side * side }, (_, k) => {
    const distance = Math.hypot((k % side) - middle, Math.floor(k / side) - middle) - size / 2;
    const covered = Math.min(1, Math.max(0, 0.9 - distance)); // small discs keep their corners, or they would be crosses
    const rim = Math.max(0, 1 - Math.max(0, distance) / margin);
    return Math.max(covered, RIM * rim * rim);
  });
}
