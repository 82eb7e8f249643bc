// Row of one result.

import { spectrogramUrl } from "./api.js";
import { el, icon, setIcon } from "./dom.js";
import { span } from "./format.js";

const PICTURE = { width: 640, height: 72 };
const RETRIES = 3;

export class Row {
  // ``actions``: toggle(hit), play(hit, seconds), like(hit), copy(hit)
  constructor(hit, actions) {
    this.hit = hit;
    this.actions = actions;
    this.head = el("span", { className: "playhead" });
    this.play = el("button", { type: "button", className: "round play" }, icon("play"));
    this.bar = el("span", { className: "bar-fill" });
    this.percent = el("span", { className: "percent" });
    this.node = el(
      "li",
      { className: "hit", tabIndex: -1, "aria-labelledby": `name-${hit.id}` },
      this.play,
      this.#about(),
      this.#picture(),
      this.#relevance(),
      this.#tools(),
    );
    this.play.addEventListener("click", () => actions.toggle(this.hit));
    this.update(hit);
    this.showPlaying(false);
  }

  // Shows the same sound for another search, with another relevance and perhaps another part.
  update(hit) {
    this.hit = hit;
    const percent = Math.round(100 * hit.relevance);
    this.percent.textContent = percent;
    this.bar.style.inlineSize = `${percent}%`;
    this.when.textContent = span(hit.start, hit.end, hit.duration);
    const length = Math.max(hit.duration, 1e-3);
    const isWhole = hit.end - hit.start > hit.duration - 0.05;
    this.named.hidden = !hit.named;
    this.mark.hidden = isWhole;
    this.mark.style.insetInlineStart = `${(100 * hit.start) / length}%`;
    this.mark.style.inlineSize = `${(100 * (Math.min(hit.end, length) - hit.start)) / length}%`;
  }

  showPlaying(isCurrent, isPlaying = false) {
    this.node.classList.toggle("current", isCurrent);
    this.head.hidden = !isCurrent;
    setIcon(this.play, isPlaying ? "pause" : "play");
    const from = this.hit.start >= 0.05 ? ` from ${this.hit.start.toFixed(1)} seconds` : "";
    const label = isPlaying ? `Pause ${this.hit.name}` : `Play ${this.hit.name}${from}`;
    this.play.setAttribute("aria-label", label);
  }

  showTime(seconds) {
    this.head.style.insetInlineStart = `${Math.min(100, (100 * seconds) / this.hit.duration)}%`;
  }

  #about() {
    const { hit } = this;
    this.when = el("span", { className: "when" });
    const title = "The name, folders or tags contain words of the query";
    this.named = el("span", { className: "named", title }, "text match");
    const said = [...new Set([hit.label, hit.caption, hit.tags].filter(Boolean))];
    return el(
      "div",
      { className: "about" },
      el("h3", { className: "name", id: `name-${hit.id}`, title: hit.path }, hit.name),
      el(
        "p",
        { className: "where" },
        this.when,
        this.named,
        hit.folder ? el("span", {}, hit.folder) : null,
      ),
      said.length ? el("p", { className: "said", title: said.join("\n") }, ...words(said)) : null,
    );
  }

  #picture() {
    this.mark = el("span", { className: "mark" });
    const image = el("img", { alt: "", loading: "lazy", decoding: "async", ...PICTURE });
    image.src = spectrogramUrl(this.hit.id, PICTURE.width, PICTURE.height);
    retry(image);
    const picture = el("div", { className: "picture" }, image, this.mark, this.head);
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      const part = (event.clientX - box.left) / box.width;
      this.actions.play(this.hit, Math.max(0, part) * this.hit.duration);
    });
    return picture;
  }

  #relevance() {
    return el(
      "p",
      { className: "relevance", title: "Relevance, from 0 to 100" },
      el("span", { className: "unseen" }, "Relevance "),
      this.percent,
      el("span", { className: "unseen" }, " out of 100"),
      el("span", { className: "bar", "aria-hidden": "true" }, this.bar),
    );
  }

  #tools() {
    const { name } = this.hit;
    const like = el("button", { type: "button", className: "tool" }, icon("like"), "More like this");
    const copy = el("button", { type: "button", className: "tool" }, icon("copy"), "Copy path");
    like.setAttribute("aria-label", `More like this: ${name}`);
    copy.setAttribute("aria-label", `Copy path of ${name}`);
    like.addEventListener("click", () => this.actions.like(this.hit));
    copy.addEventListener("click", () => this.actions.copy(this.hit));
    return el("div", { className: "tools" }, like, copy);
  }
}

// Label, caption and tags, separated by a dot that screen readers skip.
function words(said) {
  const dot = () => el("span", { className: "dot", "aria-hidden": "true" }, " · ");
  return said.flatMap((text, i) => (i ? [dot(), text] : [text]));
}

// Retries a spectrogram that an overloaded server refused, with increasing delays.
function retry(image) {
  let tries = 0;
  const address = image.src;
  image.addEventListener("error", () => {
    tries += 1;
    if (tries > RETRIES) return image.parentElement?.classList.add("without-picture");
    return setTimeout(() => {
      if (image.isConnected) image.src = `${address}&try=${tries}`;
    }, 1000 * tries * (1 + Math.random()));
  });
}
