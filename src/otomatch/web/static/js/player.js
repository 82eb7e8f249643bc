// One audio element for the whole page.

import { whyNot } from "./api.js";

const RETRIES = 3;
const LOOP = "otomatch-loop";

// A track is { id, name, where, url, start, end, duration }. The matching part lasts from start to
// end, which are equal if there is none. The duration is null if it is not known yet.
export class Player extends EventTarget {
  track = null;
  #pending = null;
  #last = 0;
  #tries = 0;

  constructor(audio) {
    super();
    this.audio = audio;
    this.loop = recall();
    audio.addEventListener("loadedmetadata", () => this.#apply());
    audio.addEventListener("error", () => this.#explain());
    audio.addEventListener("ended", () => this.#again());
    audio.addEventListener("timeupdate", () => this.#tick());
    for (const name of ["play", "pause", "seeked", "durationchange"]) {
      audio.addEventListener(name, () => this.#tell("change"));
    }
    audio.addEventListener("play", () => requestAnimationFrame(() => this.#frame()));
  }

  get isPlaying() {
    return !this.audio.paused && !this.audio.ended;
  }

  get time() {
    return this.#pending ?? this.audio.currentTime;
  }

  get duration() {
    return this.track?.duration ?? (Number.isFinite(this.audio.duration) ? this.audio.duration : 0);
  }

  play(track, at = track.start) {
    if (this.track?.url !== track.url || this.audio.error) {
      this.#tries = 0;
      this.audio.src = track.url;
    }
    this.track = track;
    this.seek(at);
    this.#tell("track");
    this.#start();
  }

  // Plays or pauses a track; a new track starts at its matching part.
  toggle(track = this.track) {
    if (!track) return;
    if (this.track?.url !== track.url || this.audio.error) this.play(track);
    else if (this.isPlaying) this.audio.pause();
    else this.#start();
  }

  seek(seconds) {
    this.#pending = Math.max(0, seconds);
    this.#last = this.#pending;
    if (this.audio.readyState >= HTMLMediaElement.HAVE_METADATA) this.#apply();
    this.#tell("time");
  }

  setLoop(isOn) {
    this.loop = isOn;
    keep(isOn);
    this.#tell("change");
  }

  // A position set before the metadata is loaded is applied as soon as it is.
  #apply() {
    if (this.#pending !== null) this.audio.currentTime = this.#pending;
    this.#pending = null;
    this.#tell("change");
  }

  #start() {
    this.audio.play().catch((error) => {
      // AbortError: another sound was started. NotSupportedError: the error event tells the reason.
      if (!["AbortError", "NotSupportedError"].includes(error.name)) this.#fail(error.message);
    });
  }

  #frame() {
    this.#tick();
    if (this.isPlaying) requestAnimationFrame(() => this.#frame());
  }

  #tick() {
    const now = this.audio.currentTime;
    const { start, end } = this.track ?? {};
    // Loops only when playback crosses the end, so that one can seek beyond it and listen there.
    if (this.loop && end > start && this.#last < end && now >= end) this.seek(start);
    else this.#last = now;
    this.#tell("time");
  }

  #again() {
    if (!this.loop) return this.#tell("change");
    this.seek(this.track.end > this.track.start ? this.track.start : 0);
    return this.#start();
  }

  async #explain() {
    const { track } = this;
    const error = await whyNot(track.url);
    if (track !== this.track) return;
    if (error?.status === 503 && this.#tries < RETRIES) {
      this.#tries += 1;
      setTimeout(() => track === this.track && this.#reload(), 1000 * (error.retryAfter ?? 1));
    } else if (error) this.#fail(error.message || "the server is not responding");
    else this.#fail("the browser cannot play this format");
  }

  #reload() {
    this.#pending = this.time;
    this.audio.load();
    this.#start();
  }

  #fail(message) {
    this.#tell("failure", `${this.track.name}: ${message}`);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function recall() {
  try {
    return localStorage.getItem(LOOP) === "on";
  } catch {
    return false;
  }
}

function keep(isOn) {
  try {
    localStorage.setItem(LOOP, isOn ? "on" : "off");
  } catch {
    // Storage is blocked: the choice lasts until the page is closed.
  }
}
