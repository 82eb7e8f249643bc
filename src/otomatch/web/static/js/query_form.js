// Search field and filters: typing changes the state, and the state fills the fields.

import { byId } from "./dom.js";
import { plural } from "./format.js";
import { change, state } from "./state.js";

const PAUSE = 180; // milliseconds after the last key press before a search starts
const FIELDS = ["q", "not", "folder", "min", "max"];

const timers = new Map();
// All searches while one field is being edited share one history entry.
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
    // The state of a moment ago must not overwrite what is being typed.
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
  select.replaceChildren(new Option("All folders", ""), ...options);
  select.title = plural(folders.length, "folder");
  offer(state().folder);
  select.value = state().folder;
}

// A folder in the address that the library no longer has stays visible, so that it can be removed.
function offer(folder) {
  const select = byId("folder");
  if (folder && ![...select.options].some((option) => option.value === folder)) {
    select.append(new Option(folder, folder));
  }
}

// Going to another history entry discards what was being typed.
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
  // Words replace a sound of the library, but are combined with a file.
  change(name === "q" && value ? { q: value, like: "", name: "", start: "" } : { [name]: value }, {
    replace,
  });
}
