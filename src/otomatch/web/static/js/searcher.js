// Runs one search at a time. A new search aborts the old one; a search that an overloaded or
// unreachable server did not answer is retried after a while.

import { search } from "./api.js";

const AGAIN_WHEN_GONE = 3; // seconds

export class Searcher extends EventTarget {
  #abort = null;
  #timer = null;

  // Events: start, result (detail: the answer), failure (detail: { error, wait }). ``wait`` is the
  // number of seconds until the automatic retry, or null.
  async run(query, sound) {
    this.stop();
    const abort = (this.#abort = new AbortController());
    this.#tell("start");
    try {
      const answer = await search(query, sound, abort.signal);
      if (!abort.signal.aborted) this.#tell("result", answer);
    } catch (error) {
      if (abort.signal.aborted) return;
      const wait = waitFor(error);
      if (wait !== null) this.#timer = setTimeout(() => this.run(query, sound), wait * 1000);
      this.#tell("failure", { error, wait });
    }
  }

  stop() {
    this.#abort?.abort();
    clearTimeout(this.#timer);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function waitFor(error) {
  if (error.status === 0) return AGAIN_WHEN_GONE;
  return error.status === 503 ? (error.retryAfter ?? AGAIN_WHEN_GONE) : null;
}
