// Current search, kept in the address so that reload, back and bookmarks work. A dropped or
// recorded sound stays in memory, under the number stored in its history entry.

const EMPTY = { q: "", not: "", folder: "", min: "", max: "", like: "", start: "", name: "", view: "" };
const PAGE = 20;
const MOST = 100;
const NARROWING = ["not", "folder", "min", "max"];

const sounds = [];
const listeners = [];
let current = read();

export const state = () => current;
export const sound = () => sounds[history.state?.sound] ?? null;
// True if the history entry had a sound that was lost by reloading the page.
export const soundWasLost = () => history.state?.sound !== undefined && sound() === null;
export const isAsked = () => Boolean(current.q.trim() || current.like || sound());
export const isNarrowed = () => NARROWING.some((name) => current[name] !== "");
export const canShowMore = () => current.k < MOST;

// Listeners get true if the browser moved to another history entry.
export function subscribe(listener) {
  listeners.push(listener);
}

// Changes the search. ``replace`` replaces the history entry instead of adding one; ``file`` is a
// sound to search by, or null.
export function change(patch, { replace = false, file = sound() } = {}) {
  const isPaging = Object.keys(patch).every((name) => name === "k" || name === "view");
  const next = { ...current, ...(isPaging ? {} : { k: PAGE }), ...patch };
  const entry = file === null ? {} : { sound: remember(file) };
  if (address(next) === address(current) && entry.sound === history.state?.sound) return;
  current = next;
  history[replace ? "replaceState" : "pushState"](entry, "", address(next));
  notify(false);
}

export const moreLike = (hit) =>
  change(
    { q: "", like: hit.id, name: hit.name, start: hit.start === undefined ? "" : String(hit.start) },
    { file: null },
  );

export const showMore = () => change({ k: Math.min(MOST, current.k + PAGE) }, { replace: true });

export const withoutSound = () => change({ like: "", name: "", start: "" }, { file: null });

export const clearNarrowing = () => change({ not: "", folder: "", min: "", max: "" });

function remember(file) {
  const known = sounds.indexOf(file);
  return known >= 0 ? known : sounds.push(file) - 1;
}

function read() {
  const given = new URLSearchParams(location.search);
  const values = Object.keys(EMPTY).map((name) => [name, given.get(name) ?? ""]);
  const k = Number.parseInt(given.get("k"), 10);
  return { ...Object.fromEntries(values), k: k > PAGE ? Math.min(k, MOST) : PAGE };
}

function address({ k, ...values }) {
  const given = Object.entries(values).filter(([, value]) => value !== "");
  if (k !== PAGE) given.push(["k", k]);
  return given.length ? `/?${new URLSearchParams(given)}` : "/";
}

function notify(hasMoved) {
  for (const listener of listeners) listener(hasMoved);
}

addEventListener("popstate", () => {
  current = read();
  notify(true);
});
