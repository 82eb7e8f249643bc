// The search field and the filters: typing changes the state, the state fills the fields.

import { byId } from "./dom.js";
import { plural } from "./format.js";
import { change, state } from "./state.js";

const PAUSE = 180; // milliseconds without a key before a search starts
const FIELDS = ["q", "not", "folder", "min", "max"];

const timers = new Map();
// While one field is edited, its searches are one entry of the history.
let edited = null;

export function wireForm() {
  for (const name of FIELDS) {
    const field = byId(name);
    field.addEventListener("input", () => {
      clearTimeout(timers.get(name));
      timers.set(name, setTimeout(() => commit(name), name === "folder" ? 0 : PAUSE));
    });
    field.addEventListener("blur", () => {
      flush(name);
      edited = null;
    });
  }
  byId("query").addEventListener("submit", (event) => {
    event.preventDefault();
    const { activeElement } = document;
    if (FIELDS.includes(activeElement?.id)) flush(activeElement.id);
    edited = null;
  });
  byId("filters-toggle").addEventListener("click", (event) => {
    const isOpen = byId("filters").classList.toggle("open");
    event.currentTarget.setAttribute("aria-expanded", String(isOpen));
  });
}

export function showForm() {
  for (const name of FIELDS) {
    const field = byId(name);
    if (name === "folder") offer(state().folder);
    // What is being typed is not overwritten by what was asked a moment ago.
    const isTyped = edited === name || timers.has(name);
    if (field.value !== state()[name] && !isTyped) field.value = state()[name];
    field.closest(".field")?.classList.toggle("set", state()[name] !== "");
  }
}

export function showFaultyFields(names) {
  for (const name of FIELDS) byId(name).ariaInvalid = names.includes(name) ? "true" : null;
}

export function showFolders(folders) {
  const select = byId("folder");
  const options = folders.map(({ path, name, sounds }) => {
    return new Option(`${name} (${sounds})`, path);
  });
  select.replaceChildren(new Option("all", ""), ...options);
  select.title = plural(folders.length, "folder");
  offer(state().folder);
  select.value = state().folder;
}

// A folder of an old address that the library no longer has stays visible, so it can be removed.
function offer(folder) {
  const select = byId("folder");
  if (folder && ![...select.options].some((option) => option.value === folder)) {
    select.append(new Option(folder, folder));
  }
}

// Another entry of the history counts for more than what was being typed.
export function forgetTyping() {
  for (const timer of timers.values()) clearTimeout(timer);
  timers.clear();
  edited = null;
}

function flush(name) {
  if (!timers.has(name)) return;
  clearTimeout(timers.get(name));
  commit(name);
}

function commit(name) {
  timers.delete(name);
  const value = byId(name).value.trim();
  if (value === state()[name]) return;
  const replace = edited === name;
  edited = name;
  // Words replace the sound of the library that was asked for; a file stays beside them.
  change(name === "q" && value ? { q: value, like: "", name: "", start: "" } : { [name]: value }, {
    replace,
  });
}
