// What is said when there is nothing to list: errors, no hit, an empty library, no query yet.

import { byId, el } from "./dom.js";

let countdown = null;

export function clearNotice() {
  clearInterval(countdown);
  byId("notice").replaceChildren();
  byId("intro").hidden = true;
}

// ``actions``: pairs of a button's text and what it does
export function showNotice({ title, text, tone = "plain", wait = null, actions = [] }) {
  clearNotice();
  const again = el("p", { className: "soft", "aria-live": "off" });
  byId("notice").append(
    el(
      "div",
      { className: `notice ${tone}` },
      el("h3", {}, title),
      ...paragraphs(text),
      wait === null ? null : again,
      actions.length ? el("p", { className: "notice-actions" }, ...actions.map(button)) : null,
    ),
  );
  if (wait !== null) count(again, wait);
}

export function showFailure({ error, wait }, { retry, dropSound }) {
  const bySound = [400, 404, 408, 413, 415, 422].includes(error.status) && dropSound;
  const { title, text } = explain(error, Boolean(bySound));
  const actions = bySound ? [["Remove the sound", dropSound]] : [];
  if (!bySound && error.status !== 401) actions.push(["Try again", retry]);
  showNotice({ title, text, wait, actions, tone: error.status === 503 ? "plain" : "bad" });
}

// What was asked for cannot be; ``remedy`` is an action.
export function showFault(text, remedy) {
  showNotice({ title: "This search is not possible", text, actions: [remedy], tone: "bad" });
}

export function showNoHit(isNarrowed, clear) {
  showNotice({
    title: "No sound fits",
    text: isNarrowed
      ? "The filters leave nothing over. Take one away, or widen the lengths."
      : "Nothing in this library comes near. Say it in other words.",
    actions: isNarrowed ? [["Clear the filters", clear]] : [],
  });
}

export function showEmptyLibrary(name) {
  showNotice({
    title: "This library is empty",
    text: ["Fill it from a terminal; this page notices:", el("code", {}, command(name))],
  });
}

export function showIntro(topics, ask) {
  const intro = byId("intro");
  const buttons = topics.map((topic) => {
    const node = el("button", { type: "button", className: "plain" }, topic);
    node.addEventListener("click", () => ask(topic));
    return node;
  });
  intro.replaceChildren(
    el("p", { className: "lead" }, "Say what you hear in your head."),
    el(
      "p",
      { className: "soft" },
      "A few words will do: a source, an action, a place. Or drop a sound here to find its like.",
    ),
    buttons.length ? el("p", { className: "topics" }, ...buttons) : "",
  );
  intro.hidden = false;
}

function explain(error, bySound) {
  const { status, message } = error;
  if (status === 0) {
    return {
      title: "The server does not answer",
      text: "Is “otomatch serve” still running? Start it again; this page goes on by itself.",
    };
  }
  if (status === 401) {
    return {
      title: "This page needs its token",
      text: message || "Open the address with ?token= that “otomatch serve” printed.",
    };
  }
  if (status === 503) return { title: "The server is busy", text: message };
  if (status === 413) return { title: "This sound is too large", text: message };
  if (status === 404) return { title: "This sound is not in the library any more", text: message };
  if (bySound) return { title: "This sound cannot be searched with", text: message };
  if (status < 500) return { title: "This search is not possible", text: message };
  return { title: "The server failed", text: message || "Its terminal says more." };
}

function paragraphs(text) {
  return [text].flat().map((part) => el("p", {}, part));
}

function button([text, act]) {
  const node = el("button", { type: "button", className: "plain" }, text);
  node.addEventListener("click", act);
  return node;
}

function count(node, seconds) {
  const end = performance.now() + 1000 * seconds;
  const show = () => {
    const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
    node.textContent = left ? `Trying again in ${left} s` : "Trying again …";
  };
  show();
  countdown = setInterval(show, 250);
}

// As a shell takes it: quoted where it holds more than plain characters.
const command = (name) => `otomatch index FOLDER --library ${quoted(name)}`;

const quoted = (text) =>
  /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
