// Draws the map on its canvas, at most once per frame and only after a change.

import { Camera } from "./camera.js";
import { nearest, nextInDirection } from "./nearest.js";
import { readPalette, stamp } from "./palette.js";
import { Raster } from "./raster.js";

const DIMMED = 0.22;
const REACH = 14; // maximum distance in pixels between the pointer and its point
const LABEL_GAP = 6;
const LONGEST_LABEL = 28;

export class Drawing {
  camera = new Camera();
  hovered = -1; // index of a point, as for cursor and playing
  cursor = -1;
  playing = -1;
  #points = [];
  #clusters = [];
  #xs = new Float32Array(0);
  #ys = new Float32Array(0);
  #hits = new Set();
  #isHit = new Uint8Array(0);
  #stamps = new Map();
  #raster = new Raster();
  #isDue = false;

  constructor(canvas) {
    this.canvas = canvas;
    this.palette = readPalette(canvas.parentElement);
    new ResizeObserver(() => this.#resize()).observe(canvas.parentElement);
    addEventListener("themechange", () => {
      this.palette = readPalette(canvas.parentElement);
      this.#stamps.clear();
      this.due();
    });
  }

  show(points, clusters) {
    this.#points = points;
    this.#xs = new Float32Array(points.length);
    this.#ys = new Float32Array(points.length);
    this.hits = this.#hits;
    this.#stamps.clear(); // the clusters have changed
    this.camera.frame(points);
    this.#clusters = clusters
      .map((cluster) => ({ ...cluster, ...middle(points.filter((p) => p.cluster === cluster.id)) }))
      .filter((cluster) => cluster.x !== undefined)
      .sort((a, b) => b.size - a.size);
    this.due();
  }

  get hits() {
    return this.#hits;
  }

  set hits(ids) {
    this.#hits = ids;
    this.#isHit = Uint8Array.from(this.#points, (point) => Number(ids.has(point.id)));
    this.due();
  }

  // Schedules a draw with the next frame, however often it is called.
  due() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#draw();
    });
  }

  pick(x, y) {
    return nearest(this.#xs, this.#ys, x, y, REACH);
  }

  next(from, key) {
    if (from >= 0) return nextInDirection(this.#xs, this.#ys, from, key);
    return nearest(this.#xs, this.#ys, this.camera.width / 2, this.camera.height / 2);
  }

  place(index) {
    return [this.#xs[index], this.#ys[index]];
  }

  #resize() {
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    if (!clientWidth || !clientHeight) return; // hidden, as in the list view on a phone
    this.camera.resize(clientWidth, clientHeight);
    this.canvas.width = Math.round(clientWidth * devicePixelRatio);
    this.canvas.height = Math.round(clientHeight * devicePixelRatio);
    this.#raster.resize(this.canvas.width, this.canvas.height);
    this.#stamps.clear();
    this.due();
  }

  #draw() {
    const { camera, canvas } = this;
    const draw = canvas.getContext("2d", { willReadFrequently: true }); // pixels come from the CPU
    for (let i = 0; i < this.#points.length; i += 1) {
      this.#xs[i] = camera.screenX(this.#points[i].x);
      this.#ys[i] = camera.screenY(this.#points[i].y);
    }
    const radius = this.#radius;
    this.#raster.clear();
    this.#marks(0, { radius, outline: 0, alpha: this.hits.size ? DIMMED : 1 });
    if (this.hits.size) this.#marks(1, { radius: 1.25 * radius, outline: 1.5, alpha: 1 });
    this.#raster.show(draw);
    draw.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    this.#labels(draw);
    this.#ring(draw, this.playing, this.palette.accent, 4);
    this.#ring(draw, this.hovered, this.palette.ink, 3);
    if (document.activeElement === canvas) this.#ring(draw, this.cursor, this.palette.ink, 5);
  }

  get #radius() {
    const base = this.#points.length < 500 ? 4.5 : this.#points.length < 4000 ? 3.2 : 2.4;
    return Math.round(4 * base * this.camera.zoom ** 0.3) / 4; // rounded, for few stamps
  }

  // Draws the hits (``hit`` is 1) or the other points (0).
  #marks(hit, look) {
    const { width, height } = this.camera;
    const marks = this.#stampsFor(look);
    const reach = 2 * look.radius;
    for (let i = 0; i < this.#points.length; i += 1) {
      const [x, y] = [this.#xs[i], this.#ys[i]];
      const isSeen = x > -reach && y > -reach && x < width + reach && y < height + reach;
      if (!isSeen || this.#isHit[i] !== hit) continue;
      const mark = marks.get(this.#points[i].cluster);
      this.#raster.put(mark, x * devicePixelRatio, y * devicePixelRatio);
    }
  }

  // Returns the stamps by cluster, made once per look instead of per point and frame.
  #stampsFor(look) {
    const key = `${look.radius} ${look.outline} ${look.alpha}`;
    if (!this.#stamps.has(key)) {
      if (this.#stamps.size > 30) this.#stamps.clear();
      const clusters = new Set(this.#points.map((point) => point.cluster));
      const make = (cluster) => stamp(this.palette, cluster, { ...look, ratio: devicePixelRatio });
      this.#stamps.set(key, new Map([...clusters].map((cluster) => [cluster, make(cluster)])));
    }
    return this.#stamps.get(key);
  }

  // Draws the labels of larger clusters first, and omits a label that would overlap another.
  #labels(draw) {
    draw.font = `600 12px ${this.palette.font}`;
    draw.textAlign = "center";
    draw.textBaseline = "middle";
    draw.lineJoin = "round";
    const taken = [];
    for (const { label, x, y } of this.#clusters) {
      const text = label.length > LONGEST_LABEL ? `${label.slice(0, LONGEST_LABEL)}…` : label;
      const half = draw.measureText(text).width / 2 + LABEL_GAP;
      const inside = Math.min(this.camera.width - half, Math.max(half, this.camera.screenX(x)));
      const box = { x: inside, y: this.camera.screenY(y), half };
      if (taken.some((other) => overlaps(box, other))) continue;
      taken.push(box);
      draw.lineWidth = 3;
      draw.strokeStyle = this.palette.paper;
      draw.globalAlpha = 0.8;
      draw.strokeText(text, box.x, box.y);
      draw.globalAlpha = 1;
      draw.fillStyle = this.palette.ink;
      draw.fillText(text, box.x, box.y);
    }
  }

  #ring(draw, index, colour, gap) {
    if (index < 0) return;
    draw.beginPath();
    draw.arc(this.#xs[index], this.#ys[index], this.#radius + gap, 0, 2 * Math.PI);
    draw.lineWidth = 2;
    draw.strokeStyle = colour;
    draw.stroke();
  }
}

const overlaps = (a, b) => Math.abs(a.y - b.y) < 18 && Math.abs(a.x - b.x) < a.half + b.half;

// The median, because the mean of two groups would be between them.
function middle(points) {
  const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  return { x: median(points.map((p) => p.x)), y: median(points.map((p) => p.y)) };
}
