// Keyboard shortcuts of the page, and the help that lists them.

import { byId, el } from "./dom.js";

// ``keys``: [keys, description, action or null if another file handles them]
export function wireKeys(keys) {
  const actions = new Map();
  for (const [names, , act] of keys) {
    if (act) for (const name of names) actions.set(name === "Space" ? " " : name, act);
  }
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]") || isTyping(event.target)) return;
    if ([" ", "Enter"].includes(event.key) && isPressable(event.target)) return;
    const act = actions.get(event.key);
    if (act && act(event) !== false) event.preventDefault();
  });
  byId("help-open").addEventListener("click", showHelp);
  byId("help-keys").append(...keys.flatMap(([names, what]) => entry(names, what)));
}

export const showHelp = () => byId("help").showModal();

function entry(names, what) {
  const caps = names.map((name) => el("kbd", {}, SIGNS[name] ?? name));
  return [el("dt", {}, ...caps.flatMap((cap) => [cap, " "])), el("dd", {}, what)];
}

const SIGNS = {
  ArrowDown: "↓",
  ArrowUp: "↑",
  ArrowLeft: "←",
  ArrowRight: "→",
};

const isTyping = (node) =>
  node.matches("textarea, select, input:not([type=range], [type=file])") || node.isContentEditable;

const isPressable = (node) => node.matches("button, a[href], summary, input, label");
