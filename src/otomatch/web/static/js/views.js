// Results and map: side by side on a wide page, one at a time on a narrow one.

import { byId } from "./dom.js";
import { change, state } from "./state.js";

export function wireViews() {
  byId("view-list").addEventListener("click", () => change({ view: "" }));
  byId("view-map").addEventListener("click", () => change({ view: "map" }));
  byId("map-wide").addEventListener("click", toggleMap);
  // The map is positioned below the head and above the player, whose heights vary.
  const head = byId("head");
  new ResizeObserver(() => {
    document.documentElement.style.setProperty("--head", `${head.offsetHeight}px`);
  }).observe(head);
  const player = byId("player");
  new ResizeObserver(() => {
    document.documentElement.style.setProperty("--foot", `${player.offsetHeight}px`);
  }).observe(player);
}

export const toggleMap = () => change({ view: state().view === "map" ? "" : "map" });

export function showView() {
  const isMap = state().view === "map";
  byId("work").dataset.view = isMap ? "map" : "list";
  byId("view-list").setAttribute("aria-pressed", String(!isMap));
  byId("view-map").setAttribute("aria-pressed", String(isMap));
  byId("map-wide").setAttribute("aria-pressed", String(isMap));
}
