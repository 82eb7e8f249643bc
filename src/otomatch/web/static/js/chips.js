// What a search is made of, as chips that can be taken away: the sound in the search field, the
// filters above the results.

import { byId, el, icon } from "./dom.js";
import { isCrossed } from "./limits.js";
import { change, sound, state } from "./state.js";

// ``listen`` plays the file that is searched with.
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
    chips.push(chip(hear, `Remove the sound ${file.name}`, () => change({}, { file: null })));
  } else if (like) {
    const text = el("span", { className: "chip-name" }, icon("like"), el("span", {}, name || like));
    chips.push(
      chip(text, "Stop searching for more like this", () =>
        change({ like: "", name: "", start: "" }),
      ),
    );
  }
  byId("chips").replaceChildren(...chips);
  byId("q").placeholder = placeholder(file, like);
}

// Words are searched together with a sound that was sent, and in place of one of the library.
function placeholder(file, like) {
  if (file) return "and describe it";
  return like ? "or describe another" : "Describe a sound";
}

export function showFilterChips(folderName) {
  const { not, folder, min, max } = state();
  const active = [];
  if (not) active.push(filter(`without ${not}`, { not: "" }));
  if (folder) active.push(filter(`in ${folderName(folder)}`, { folder: "" }));
  active.push(...lengths(min, max));
  byId("active").replaceChildren(...active.map((node) => el("li", {}, node)));
}

function filter(text, patch) {
  const name = el("span", { className: "chip-name" }, el("span", {}, text));
  return chip(name, `Remove the filter: ${text}`, () => change(patch));
}

// One chip for both ends of a range.
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
    byId("q").focus(); // the button that had the focus is gone
  });
  return el("span", { className: "chip" }, content, cross);
}
