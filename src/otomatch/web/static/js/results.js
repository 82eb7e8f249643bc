// List of results. Rows are reused for the same sound, so that they do not flicker.

import { el } from "./dom.js";
import { Row } from "./row.js";

const SKELETONS = 6;

export class Results {
  #rows = new Map();

  constructor(list, actions) {
    this.list = list;
    this.actions = actions;
  }

  get hits() {
    return [...this.#rows.values()].map((row) => row.hit);
  }

  row(id) {
    return this.#rows.get(id);
  }

  show(hits) {
    const focused = document.activeElement;
    const hadFocus = this.list.contains(focused) && focused !== this.list;
    const rows = new Map(hits.map((hit) => [hit.id, this.#row(hit)]));
    this.#rows = rows;
    this.list.replaceChildren(...[...rows.values()].map((row) => row.node));
    this.list.removeAttribute("aria-busy");
    // If the focused row is gone, focus moves to the best hit instead of the top of the page.
    if (hadFocus) (focused.isConnected ? focused : this.list.firstChild)?.focus();
  }

  showLoading() {
    this.list.setAttribute("aria-busy", "true");
    if (this.#rows.size || this.list.childElementCount) return;
    const blocks = ["round", "about", "picture", "relevance"];
    const skeleton = () =>
      el(
        "li",
        { className: "hit skeleton", "aria-hidden": "true" },
        ...blocks.map((name) => el("span", { className: name })),
      );
    this.list.replaceChildren(...Array.from({ length: SKELETONS }, skeleton));
  }

  showStopped() {
    this.list.removeAttribute("aria-busy");
    if (!this.#rows.size) this.list.replaceChildren();
  }

  // Returns the row that has or contains the focus, or null.
  focused() {
    const node = document.activeElement?.closest(".hit");
    return [...this.#rows.values()].find((row) => row.node === node) ?? null;
  }

  focus(hit) {
    this.#rows.get(hit?.id)?.node.focus();
  }

  // Moves the focus; returns false if there is no row to move to.
  move(step) {
    const rows = [...this.#rows.values()];
    const at = rows.indexOf(this.focused());
    const next = at < 0 && step < 0 ? rows.length - 1 : at + step;
    const row = rows[Math.min(rows.length - 1, next)];
    row?.node.focus();
    return row !== undefined;
  }

  #row(hit) {
    const known = this.#rows.get(hit.id);
    if (!known) return new Row(hit, this.actions);
    known.update(hit);
    return known;
  }
}
