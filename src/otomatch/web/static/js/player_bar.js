// Player at the bottom of the page: current sound, position, loop and volume.

import { byId, setIcon } from "./dom.js";
import { clock } from "./format.js";

export class PlayerBar {
  constructor(player) {
    this.player = player;
    this.bar = byId("player");
    this.scrub = byId("scrub");
    byId("toggle").addEventListener("click", () => player.toggle());
    byId("loop").addEventListener("click", () => player.setLoop(!player.loop));
    byId("volume").addEventListener("input", (event) => {
      player.audio.volume = event.target.valueAsNumber;
    });
    this.scrub.addEventListener("input", () => player.seek(this.scrub.valueAsNumber));
    player.addEventListener("track", () => this.#showTrack());
    player.addEventListener("change", () => this.#showChange());
    player.addEventListener("time", () => this.#showTime());
    this.#showChange();
  }

  #showTrack() {
    const { track } = this.player;
    this.bar.hidden = false;
    byId("now-name").textContent = track.name;
    byId("now-where").textContent = track.where;
    this.#showChange();
  }

  #showChange() {
    const { player } = this;
    const { start = 0, end = 0 } = player.track ?? {};
    const length = player.duration;
    setIcon(byId("toggle"), player.isPlaying ? "pause" : "play");
    byId("toggle").setAttribute("aria-label", player.isPlaying ? "Pause" : "Play");
    byId("loop").setAttribute("aria-pressed", String(player.loop));
    byId("length").textContent = length ? clock(length, 1) : "";
    this.scrub.max = length || 1;
    const mark = byId("scrub-span");
    mark.hidden = !(length && end > start);
    mark.style.insetInlineStart = `${(100 * start) / (length || 1)}%`;
    mark.style.inlineSize = `${(100 * (Math.min(end, length) - start)) / (length || 1)}%`;
    this.#showTime();
  }

  #showTime() {
    const now = clock(this.player.time, 1);
    byId("clock").textContent = now;
    this.scrub.value = this.player.time;
    this.scrub.setAttribute("aria-valuetext", `${now} of ${clock(this.player.duration, 1)}`);
  }
}
