// Removable chips for the parts of a search: the sound in the search field and the filters above
// the results.

import { byId, el, icon } from "./dom.js";
import { isCrossed } from "./limits.js";
import { change, sound, state } from "./state.js";

// ``listen(file)`` plays the file to search with.
export function showSoundChip(listen) {
  const file = sound();
  const { like, name } = state();
  const chips = [];
  if (file) {
    const hear = el(
      "button",
      { type: "button", className: "chip-name", "aria-label": `Play ${file.name}` },
      icon("wave"),
      el("span", {}, file.name),
    );
    hear.addEventListener("click", () => listen(file));
    chips.push(chip(hear, `Remove ${file.name}`, () => change({}, { file: null })));
  } else if (like) {
    const text = el("span", { className: "chip-name" }, icon("like"), el("span", {}, name || like));
    chips.push(
      chip(text, "Stop searching for similar sounds", () =>
        change({ like: "", name: "", start: "" }),
      ),
    );
  }
  byId("chips").replaceChildren(...chips);
  byId("q").placeholder = placeholder(file, like);
}

// Words are combined with an uploaded sound, but replace a sound of the library.
function placeholder(file, like) {
  if (file) return "Add a description";
  return like ? "Describe a sound instead" : "Describe a sound";
}

export function showFilterChips(folderName) {
  const { not, folder, min, max } = state();
  const active = [];
  if (not) active.push(filter(`excluding ${not}`, { not: "" }));
  if (folder) active.push(filter(`in ${folderName(folder)}`, { folder: "" }));
  active.push(...lengths(min, max));
  byId("active").replaceChildren(...active.map((node) => el("li", {}, node)));
}

function filter(text, patch) {
  const name = el("span", { className: "chip-name" }, el("span", {}, text));
  return chip(name, `Remove filter: ${text}`, () => change(patch));
}

// One chip for both ends of a range, unless they are in the wrong order.
function lengths(min, max) {
  if (min && max && !isCrossed({ min, max })) {
    return [filter(`${min}–${max} s long`, { min: "", max: "" })];
  }
  const ends = [];
  if (min) ends.push(filter(`at least ${min} s`, { min: "" }));
  if (max) ends.push(filter(`at most ${max} s`, { max: "" }));
  return ends;
}

function chip(content, label, remove) {
  const cross = el(
    "button",
    { type: "button", className: "chip-remove", "aria-label": label, title: label },
    icon("close"),
  );
  cross.addEventListener("click", () => {
    remove();
    byId("q").focus(); // the focused button was removed
  });
  return el("span", { className: "chip" }, content, cross);
}
