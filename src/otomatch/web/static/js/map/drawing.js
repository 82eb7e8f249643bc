// The map on its canvas. Draws once a frame at most, and only when something changed.

import { Camera } from "./camera.js";
import { nearest, nextInDirection } from "./nearest.js";
import { readPalette, stamp } from "./palette.js";

const DIMMED = 0.22;
const REACH = 14; // pixels from a point that still mean it
const LABEL_GAP = 6;
const LONGEST_LABEL = 28;

export class Drawing {
  camera = new Camera();
  hits = new Set();
  hovered = -1; // indices into points
  cursor = -1;
  playing = -1;
  #points = [];
  #clusters = [];
  #xs = new Float32Array(0);
  #ys = new Float32Array(0);
  #stamps = new Map();
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
    this.camera.frame(points);
    this.#clusters = clusters
      .map((cluster) => ({ ...cluster, ...middle(points.filter((p) => p.cluster === cluster.id)) }))
      .filter((cluster) => cluster.x !== undefined)
      .sort((a, b) => b.size - a.size);
    this.due();
  }

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
    if (!clientWidth || !clientHeight) return; // not shown (phone, list view)
    this.camera.resize(clientWidth, clientHeight);
    this.canvas.width = Math.round(clientWidth * devicePixelRatio);
    this.canvas.height = Math.round(clientHeight * devicePixelRatio);
    this.#stamps.clear();
    this.due();
  }

  #draw() {
    const { camera, canvas, hits } = this;
    const draw = canvas.getContext("2d");
    draw.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    draw.clearRect(0, 0, camera.width, camera.height);
    this.#points.forEach((point, i) => {
      this.#xs[i] = camera.screenX(point.x);
      this.#ys[i] = camera.screenY(point.y);
    });
    draw.globalAlpha = hits.size ? DIMMED : 1;
    this.#marks(draw, (point) => !hits.has(point.id), 0);
    draw.globalAlpha = 1;
    if (hits.size) this.#marks(draw, (point) => hits.has(point.id), 1.5);
    this.#labels(draw);
    this.#ring(draw, this.playing, this.palette.accent, 4);
    this.#ring(draw, this.hovered, this.palette.ink, 3);
    if (document.activeElement === canvas) this.#ring(draw, this.cursor, this.palette.ink, 5);
  }

  get #radius() {
    const base = this.#points.length < 500 ? 4.5 : this.#points.length < 4000 ? 3.2 : 2.4;
    return base * this.camera.zoom ** 0.3;
  }

  #marks(draw, isWanted, outline) {
    const radius = this.#radius * (outline ? 1.25 : 1);
    const { width, height } = this.camera;
    this.#points.forEach((point, i) => {
      const [x, y] = [this.#xs[i], this.#ys[i]];
      const isSeen = x > -radius && y > -radius && x < width + radius && y < height + radius;
      if (!isSeen || !isWanted(point)) return;
      const mark = this.#stamp(point.cluster, radius, outline);
      const size = mark.width / devicePixelRatio;
      draw.drawImage(mark, x - size / 2, y - size / 2, size, size);
    });
  }

  #stamp(cluster, radius, outline) {
    const key = `${cluster} ${radius.toFixed(1)} ${outline}`;
    if (!this.#stamps.has(key)) {
      if (this.#stamps.size > 500) this.#stamps.clear();
      this.#stamps.set(key, stamp(this.palette, cluster, radius, devicePixelRatio, outline));
    }
    return this.#stamps.get(key);
  }

  // Larger clusters first; a label that would lie on another is left out until there is room.
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
      draw.lineWidth = 4;
      draw.strokeStyle = this.palette.paper;
      draw.strokeText(text, box.x, box.y);
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

// The median, which stays among the points where a mean lands between two groups.
function middle(points) {
  const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  return { x: median(points.map((p) => p.x)), y: median(points.map((p) => p.y)) };
}
