// Zoom and pan: maps points to positions on the screen.

const MARGIN = 28; // pixels
const CLOSEST = 60;

export class Camera {
  #scale = 1;
  #x = 0;
  #y = 0;
  #box = { left: 0, top: 0, width: 1, height: 1 };
  width = 1;
  height = 1;

  get zoom() {
    return this.#scale;
  }

  // Fits the extent of the points, which need not fill the unit square, to the stage.
  frame(points) {
    // Not Math.min(...), because the number of arguments is limited.
    const least = (axis) => points.reduce((value, point) => Math.min(value, point[axis]), 1);
    const most = (axis) => points.reduce((value, point) => Math.max(value, point[axis]), 0);
    const [left, top] = [least("x"), least("y")];
    this.#box = { left, top, width: most("x") - left || 1, height: most("y") - top || 1 };
    this.fit();
  }

  resize(width, height) {
    this.#x *= width / this.width;
    this.#y *= height / this.height;
    [this.width, this.height] = [width, height];
  }

  fit() {
    [this.#scale, this.#x, this.#y] = [1, 0, 0];
  }

  screenX(x) {
    const part = (x - this.#box.left) / this.#box.width;
    return (MARGIN + part * (this.width - 2 * MARGIN)) * this.#scale + this.#x;
  }

  screenY(y) {
    const part = (y - this.#box.top) / this.#box.height;
    return (MARGIN + part * (this.height - 2 * MARGIN)) * this.#scale + this.#y;
  }

  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    const scale = Math.min(CLOSEST, Math.max(1, this.#scale * factor));
    const change = scale / this.#scale;
    this.#x = x - (x - this.#x) * change;
    this.#y = y - (y - this.#y) * change;
    this.#scale = scale;
    this.#keepInside();
  }

  panBy(dx, dy) {
    this.#x += dx;
    this.#y += dy;
    this.#keepInside();
  }

  // Pans by the minimum that moves a position away from the edges.
  reveal(x, y) {
    const edge = 2 * MARGIN;
    const into = (value, size) => Math.max(edge - value, 0) + Math.min(size - edge - value, 0);
    if (this.#scale > 1) this.panBy(into(x, this.width), into(y, this.height));
  }

  #keepInside() {
    const keep = (value, size) => Math.min(0, Math.max(size * (1 - this.#scale), value));
    this.#x = keep(this.#x, this.width);
    this.#y = keep(this.#y, this.height);
  }
}
