// Wires the page together: state -> search -> results, map and player.

import * as api from "./api.js";
import { copyPath } from "./clipboard.js";
import { byId, setIcon } from "./dom.js";
import { acceptFiles } from "./drop.js";
import { plural, total } from "./format.js";
import { showHelp, wireKeys } from "./keyboard.js";
import { watchLibrary } from "./library_watch.js";
import { MapPanel } from "./map/panel.js";
import { Player } from "./player.js";
import { PlayerBar } from "./player_bar.js";
import { forgetTyping, showFolders, showForm, wireForm } from "./query_form.js";
import { Recorder } from "./recorder.js";
import { Results } from "./results.js";
import { SearchView } from "./search_view.js";
import * as store from "./state.js";
import { isDark, toggleTheme } from "./theme.js";
import { toast } from "./toast.js";
import { trackOfFile, trackOfHit, trackOfPoint } from "./tracks.js";
import { showView, toggleMap, wireViews } from "./views.js";

const TOPICS = 6;
const STEP = 1; // seconds per press of an arrow key

const player = new Player(byId("audio"));
new PlayerBar(player);
const folderNames = new Map();

const results = new Results(byId("hits"), {
  toggle: (hit) => player.toggle(trackOfHit(hit)),
  play: (hit, seconds) => player.play(trackOfHit(hit), seconds),
  like: store.moreLike,
  copy: (hit) => copyPath(hit.path),
});

const map = new MapPanel(
  {
    toggle: (point) => player.toggle(trackOfMap(point)),
    like: ({ id, name }) => store.moreLike({ id, name }),
  },
  showMap,
);

const view = new SearchView(results, {
  listen: (file) => player.toggle(trackOfFile(file)),
  folderName: (path) => folderNames.get(path) ?? path,
  shown: showHits,
});

// A point that is also a hit starts at its matching part.
function trackOfMap(point) {
  const row = results.row(point.id);
  return row ? trackOfHit(row.hit) : trackOfPoint(point, map.labels.get(point.cluster) ?? "");
}

function showHits() {
  map.highlight(results.hits.map((hit) => hit.id));
  showPlaying();
}

function showMap() {
  view.topics = [...map.clusters]
    .sort((a, b) => b.size - a.size)
    .map(({ label }) => label)
    .filter(isTopic)
    .slice(0, TOPICS);
  showHits();
  if (!store.isAsked()) view.update(true);
}

// Neither a number nor a group without words. \p{Lo}: scripts without case may have short words.
function isTopic(label) {
  return /\p{L}{3}|\p{Lo}/u.test(label) && !/^group \d+$/.test(label);
}

function showPlaying() {
  const { track } = player;
  for (const hit of results.hits) {
    const isCurrent = hit.id === track?.id;
    results.row(hit.id).showPlaying(isCurrent, isCurrent && player.isPlaying);
  }
  map.showPlaying(track?.id);
  showTime();
}

function showTime() {
  results.row(player.track?.id)?.showTime(player.time);
}

function showTheme() {
  const dark = isDark();
  setIcon(byId("theme"), dark ? "sun" : "moon");
  byId("theme").setAttribute("aria-pressed", String(dark));
}

function showLibrary({ library, sounds, seconds }) {
  byId("library").textContent = `${library} · ${plural(sounds, "sound")} · ${total(seconds)}`;
  view.libraryName = library;
  const wasEmpty = view.isEmptyLibrary;
  view.isEmptyLibrary = sounds === 0;
  if (view.isEmptyLibrary || wasEmpty) view.update(true);
}

function loadLibrary() {
  map.load();
  showFolderNames().catch(() => {}); // without them, folders cannot be chosen
}

async function showFolderNames() {
  const { folders } = await api.folders();
  folderNames.clear();
  for (const { path, name } of folders) folderNames.set(path, name);
  showFolders(folders);
  view.update();
}

function onFocusedRow(act) {
  return () => {
    const row = results.focused();
    return row ? act(row) : false;
  };
}

function seekBy(seconds) {
  if (!player.track) return false;
  return player.seek(Math.min(player.time + seconds, player.duration || Infinity));
}

function toggleFocused() {
  const row = results.focused();
  if (!row && !player.track) return false;
  return player.toggle(row ? trackOfHit(row.hit) : player.track);
}

wireKeys([
  [["/"], "Go to the search field", () => byId("q").select()],
  [["j", "ArrowDown"], "Next result", () => results.move(1)],
  [["k", "ArrowUp"], "Previous result, or the search field from the first one", () => results.move(-1) || byId("q").focus()],
  [["Enter"], "Play the result from its matching part", onFocusedRow(playRow)],
  [["Space"], "Play or pause", toggleFocused],
  [["ArrowLeft"], "Back 1 second", () => seekBy(-STEP)],
  [["ArrowRight"], "Forward 1 second", () => seekBy(STEP)],
  [["l"], "Loop the matching part", () => player.setLoop(!player.loop)],
  [["s"], "More like this", onFocusedRow((row) => store.moreLike(row.hit))],
  [["c"], "Copy the file path", onFocusedRow((row) => copyPath(row.hit.path))],
  [["m"], "Go to the map; arrow keys move between sounds", goToMap],
  [["M"], "Expand the map", toggleMap],
  [["t"], "Switch between dark and light theme", toggleTheme],
  [["?"], "Show this help", showHelp],
]);

function playRow(row) {
  player.play(trackOfHit(row.hit));
}

function goToMap() {
  if (getComputedStyle(byId("map")).display === "none") toggleMap();
  byId("canvas").focus();
}

byId("q").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" && results.move(1)) event.preventDefault();
});

for (const name of ["focusin", "pointerover"]) {
  byId("hits").addEventListener(name, (event) => {
    const node = event.target.closest(".hit");
    const hit = results.hits.find(({ id }) => results.row(id).node === node);
    map.pointOut(hit?.id);
  });
}

function searchBySound(file) {
  store.change({ like: "", name: "", start: "" }, { file });
}

player.addEventListener("track", showPlaying);
player.addEventListener("change", showPlaying);
player.addEventListener("time", showTime);
player.addEventListener("failure", (event) => toast(event.detail, "bad"));
addEventListener("themechange", showTheme);
byId("theme").addEventListener("click", toggleTheme);
acceptFiles(searchBySound);
new Recorder(searchBySound);
wireForm();
wireViews();
store.subscribe((hasMoved) => {
  if (hasMoved) forgetTyping();
  showForm();
  showView();
  view.update();
});

showTheme();
showForm();
showView();
view.update(true);
loadLibrary();
watchLibrary(showLibrary, loadLibrary);
if (!store.isAsked()) byId("q").focus();
