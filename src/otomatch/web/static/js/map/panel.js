// Map beside the results: its points, tooltip, keys and states.

import * as api from "../api.js";
import { byId, el } from "../dom.js";
import { plural } from "../format.js";
import { Drawing } from "./drawing.js";
import { wireGestures } from "./gestures.js";
import { isDirection } from "./nearest.js";

const POLLS = [1, 1, 2, 3, 5]; // seconds between requests while the map is being computed
const ZOOM = 1.5;

export class MapPanel {
  points = [];
  clusters = [];
  #index = new Map();
  #timer = null;

  // ``actions``: toggle(point), like(point); ``changed()`` is called after a new map is shown
  constructor(actions, changed) {
    this.actions = actions;
    this.changed = changed;
    this.canvas = byId("canvas");
    this.drawing = new Drawing(this.canvas);
    wireGestures(this.canvas, this.drawing.camera, {
      hover: (x, y) => this.#hover(this.drawing.pick(x, y)),
      leave: () => this.#hover(-1),
      press: (x, y) => this.#press(this.drawing.pick(x, y)),
      moved: () => this.#moved(),
    });
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("focus", () => this.drawing.due());
    this.canvas.addEventListener("blur", () => {
      this.#tip(-1);
      this.drawing.due();
    });
    byId("zoom-in").addEventListener("click", () => this.#zoom(ZOOM));
    byId("zoom-out").addEventListener("click", () => this.#zoom(1 / ZOOM));
    byId("zoom-fit").addEventListener("click", () => this.#zoom(0));
  }

  async load(tries = 0) {
    clearTimeout(this.#timer); // one request at a time
    try {
      this.#receive(await api.map(), tries);
    } catch (error) {
      if (error.status === 503) {
        this.#say("The server is busy. The map will appear shortly.");
        this.#askAgain(tries, error.retryAfter ?? 3);
      } else {
        this.#say(error.message || "The server is not responding, so the map is not available.", true);
      }
    }
  }

  #askAgain(tries, seconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.load(tries), 1000 * seconds);
  }

  highlight(ids) {
    this.drawing.hits = new Set(ids.filter((id) => this.#index.has(id)));
  }

  showPlaying(id) {
    this.drawing.playing = this.#index.get(id) ?? -1;
    this.drawing.due();
  }

  // Marks a result on the map.
  pointOut(id) {
    this.drawing.hovered = this.#index.get(id) ?? -1;
    this.drawing.due();
  }

  #receive({ state, points, clusters }, tries) {
    if (state === "computing") this.#wait(points, clusters, tries);
    else if (state === "failed") this.#say("The map could not be drawn.", true);
    else if (state === "empty" || !points.length) this.#say("No sounds to show yet.");
    else this.#show(points, clusters);
  }

  // Shows the previous map, if there is one, until the new map is computed.
  #wait(points, clusters, tries) {
    const isFirst = tries === 0 || !points.length;
    if (!points.length) this.#say("Drawing the map…", false, true);
    else if (isFirst) this.#show(points, clusters);
    if (points.length) byId("map-summary").textContent = "Updating the map…";
    this.#askAgain(tries + 1, POLLS[Math.min(tries, POLLS.length - 1)]);
  }

  #show(points, clusters) {
    const current = this.points[this.drawing.cursor]?.id;
    this.points = points;
    this.clusters = clusters;
    this.labels = new Map(clusters.map(({ id, label }) => [id, label]));
    this.#index = new Map(points.map(({ id }, i) => [id, i]));
    this.drawing.show(points, clusters);
    this.drawing.cursor = this.#index.get(current) ?? -1;
    this.drawing.hovered = -1;
    this.#tip(-1);
    byId("map-state").hidden = true;
    this.canvas.hidden = false;
    byId("map-summary").textContent =
      `${plural(points.length, "sound")} in ${plural(clusters.length, "group")}`;
    this.changed();
  }

  #say(text, canRetry = false, isBusy = false) {
    const box = byId("map-state");
    const again = el("button", { type: "button", className: "plain" }, "Try again");
    again.addEventListener("click", () => this.load());
    box.replaceChildren(
      isBusy ? el("span", { className: "dots", "aria-hidden": "true" }) : "",
      el("p", {}, text),
      canRetry ? again : "",
    );
    box.hidden = false;
    this.canvas.hidden = true; // the keys have nothing to move on
    byId("map-live").textContent = text;
  }

  #describe(point) {
    const label = this.labels.get(point.cluster);
    return label ? `${point.name}, ${label}` : point.name;
  }

  #hover(index) {
    this.canvas.classList.toggle("over", index >= 0);
    if (index === this.drawing.hovered) return;
    this.drawing.hovered = index;
    this.#tip(index);
    this.drawing.due();
  }

  #tip(index) {
    const tip = byId("tip");
    tip.hidden = index < 0;
    if (index < 0) return;
    const point = this.points[index];
    const [x, y] = this.drawing.place(index);
    tip.replaceChildren(
      el("strong", {}, point.name),
      el("span", {}, this.labels.get(point.cluster) ?? ""),
    );
    const { width, height } = this.drawing.camera;
    const left = Math.min(Math.max(8, x - tip.offsetWidth / 2), width - tip.offsetWidth - 8);
    const isLow = y > height / 2;
    tip.style.transform = `translate(${left}px, ${isLow ? y - tip.offsetHeight - 14 : y + 14}px)`;
  }

  #press(index) {
    if (index < 0) return;
    this.drawing.cursor = index;
    this.#play(index);
  }

  #play(index) {
    this.actions.toggle(this.points[index]);
    byId("map-live").textContent = `Playing ${this.#describe(this.points[index])}`;
  }

  #zoom(factor) {
    if (factor) this.drawing.camera.zoomBy(factor);
    else this.drawing.camera.fit();
    this.#moved();
  }

  #moved() {
    this.#hover(-1);
    this.drawing.due();
  }

  #key(event) {
    const { cursor } = this.drawing;
    const { key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (isDirection(key)) this.#step(this.drawing.next(cursor, key));
    else if ((key === "Enter" || key === " ") && cursor >= 0) this.#play(cursor);
    else if (key === "s" && cursor >= 0) this.actions.like(this.points[cursor]);
    else if (key === "+" || key === "=") this.#zoom(ZOOM);
    else if (key === "-") this.#zoom(1 / ZOOM);
    else if (key === "0") this.#zoom(0);
    else return;
    event.preventDefault(); // keeps the page's shortcuts and scrolling from using the key
  }

  #step(index) {
    const live = byId("map-live");
    if (index < 0) {
      live.textContent = "No more sounds in this direction";
      return;
    }
    this.drawing.cursor = index;
    this.drawing.camera.reveal(...this.drawing.place(index));
    this.drawing.due();
    live.textContent = `${this.#describe(this.points[index])}${this.#isHit(index) ? ", search result" : ""}`;
    requestAnimationFrame(() => this.#tip(index));
  }

  #isHit(index) {
    return this.drawing.hits.has(this.points[index].id);
  }
}
