// Runs the search in the state, and shows its results or errors.

import { showFilterChips, showSoundChip } from "./chips.js";
import { byId } from "./dom.js";
import { count, milliseconds, plural } from "./format.js";
import { findFault } from "./limits.js";
import * as notices from "./notices.js";
import { showFaultyFields } from "./query_form.js";
import { Searcher } from "./searcher.js";
import * as store from "./state.js";
import { toast } from "./toast.js";

const WEAK = 0.2; // relevance, as a probability

export class SearchView {
  #searcher = new Searcher();
  #asked = null;
  topics = []; // suggestions, shown before the first search
  isEmptyLibrary = false;
  libraryName = "LIBRARY";

  // ``shown(hits)`` is called whenever the results have changed
  constructor(results, { listen, folderName, shown }) {
    Object.assign(this, { results, listen, folderName, shown });
    this.#searcher.addEventListener("start", () => this.#showStart());
    this.#searcher.addEventListener("result", (event) => this.#showAnswer(event.detail));
    this.#searcher.addEventListener("failure", (event) => this.#showFailure(event.detail));
    byId("more").addEventListener("click", () => store.showMore());
  }

  // Searches if the query has changed, or in any case with ``again``.
  update(again = false) {
    showSoundChip(this.listen);
    showFilterChips(this.folderName);
    const { view, name, ...query } = store.state();
    const asked = [JSON.stringify({ ...query, k: 0 }), store.sound()];
    const isNew = asked.some((part, i) => part !== this.#asked?.[i]);
    if (!isNew && !again && query.k === this.k) return;
    [this.#asked, this.k] = [asked, query.k];
    if (isNew) scrollTo(0, 0);
    if (isNew && store.soundWasLost()) toast("The sound of this search is no longer available. Drop it again.");
    const fault = findFault(query);
    showFaultyFields(fault?.fields ?? []);
    if (fault && !this.isEmptyLibrary) this.#showFault(fault);
    else if (store.isAsked() && !this.isEmptyLibrary) this.#searcher.run(query, store.sound());
    else this.#showNothingAsked();
  }

  #showNothingAsked() {
    this.#searcher.stop();
    this.#finish([], "", "");
    document.title = "otomatch";
    if (this.isEmptyLibrary) notices.showEmptyLibrary(this.libraryName);
    else notices.showIntro(this.topics, (q) => store.change({ q }));
  }

  #showFault({ text, fields, remedy }) {
    this.#searcher.stop();
    this.#finish([], "", "");
    const empty = Object.fromEntries(fields.map((name) => [name, ""]));
    notices.showFault(text, [remedy, () => this.#leave(() => store.change(empty))]);
  }

  #showStart() {
    byId("progress").classList.add("busy");
    byId("intro").hidden = true;
    this.results.showLoading();
  }

  #showAnswer({ hits, seconds, total }) {
    const before = new Set(this.results.hits.map((hit) => hit.id));
    const hadFocus = document.activeElement === byId("more");
    this.#finish(hits, "", `in ${milliseconds(seconds)}`);
    byId("count").textContent = summary(hits, total);
    if (!hits.length) notices.showNoHit(store.isNarrowed(), store.clearNarrowing);
    byId("more").hidden = hits.length < this.k || !store.canShowMore();
    // The button has moved or is gone, so focus the first of the new results.
    if (hadFocus) this.results.focus(hits.find((hit) => !before.has(hit.id)) ?? hits.at(-1));
    const { q, name } = store.state();
    document.title = `${[q, name, store.sound()?.name].filter(Boolean).join(" + ")} – otomatch`;
  }

  #showFailure(detail) {
    byId("progress").classList.remove("busy");
    // Previous results stay visible while the search is being retried, but not after another error.
    if (detail.wait === null) this.#finish([], "", "");
    this.results.showStopped();
    const isBySound = store.sound() || store.state().like;
    const dropSound = isBySound ? () => this.#leave(store.withoutSound) : null;
    notices.showFailure(detail, { retry: () => this.update(true), dropSound });
  }

  // The pressed button disappears with its notice.
  #leave(act) {
    act();
    byId("q").focus();
  }

  #finish(hits, countText, tookText) {
    notices.clearNotice();
    byId("progress").classList.remove("busy");
    byId("count").textContent = countText;
    byId("took").textContent = tookText;
    byId("more").hidden = true;
    this.results.show(hits);
    this.shown(hits);
  }
}

// The best hits may still be poor; the summary says so if all of them are.
function summary(hits, total) {
  if (!hits.length) return `0 of ${plural(total, "sound")}`;
  const isWeak = Math.max(...hits.map((hit) => hit.relevance)) < WEAK;
  const order = isWeak ? "best first, but none is a good match" : "best first";
  return `${count(hits.length)} of ${plural(total, "sound")}, ${order}`;
}
