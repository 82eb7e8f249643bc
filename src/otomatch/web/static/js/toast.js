// Short message that disappears by itself.

import { byId } from "./dom.js";

const SECONDS = 6;
let timer = null;

export function toast(text, tone = "plain") {
  const node = byId("toast");
  node.textContent = text;
  node.className = `toast shown ${tone}`;
  clearTimeout(timer);
  timer = setTimeout(() => {
    node.classList.remove("shown");
    node.textContent = "";
  }, 1000 * SECONDS);
}
