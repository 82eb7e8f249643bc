// Messages in place of results: errors, no hits, an empty library, no query yet.

import { byId, el } from "./dom.js";

let countdown = null;

export function clearNotice() {
  clearInterval(countdown);
  byId("notice").replaceChildren();
  byId("intro").hidden = true;
}

// ``actions``: pairs of a button's text and its action
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
  const actions = bySound ? [["Remove sound", dropSound]] : [];
  if (!bySound && error.status !== 401) actions.push(["Try again", retry]);
  showNotice({ title, text, wait, actions, tone: error.status === 503 ? "plain" : "bad" });
}

// An invalid search; ``remedy`` is an action.
export function showFault(text, remedy) {
  showNotice({ title: "Invalid search", text, actions: [remedy], tone: "bad" });
}

export function showNoHit(isNarrowed, clear) {
  showNotice({
    title: "No matching sounds",
    text: isNarrowed
      ? "No sound passes all filters. Remove one, or widen the length range."
      : "Nothing in this library matches. Try different words.",
    actions: isNarrowed ? [["Clear filters", clear]] : [],
  });
}

export function showEmptyLibrary(name) {
  showNotice({
    title: "This library is empty",
    text: ["Add sounds from a terminal; this page updates by itself:", el("code", {}, command(name))],
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
    el("p", { className: "lead" }, "Describe the sound you have in mind."),
    el(
      "p",
      { className: "soft" },
      "A few words are enough: a source, an action, a place. Or drop a sound file here to find similar sounds.",
    ),
    buttons.length ? el("p", { className: "topics" }, ...buttons) : "",
  );
  intro.hidden = false;
}

function explain(error, bySound) {
  const { status, message } = error;
  if (status === 0) {
    return {
      title: "The server is not responding",
      text: "Check that “otomatch serve” is still running. This page reconnects by itself.",
    };
  }
  if (status === 401) {
    return {
      title: "Token required",
      text: message || "Open the address that “otomatch serve” printed; it contains the token.",
    };
  }
  if (status === 503) return { title: "The server is busy", text: message };
  if (status === 413) return { title: "This sound is too large", text: message };
  if (status === 404) return { title: "This sound is no longer in the library", text: message };
  if (bySound) return { title: "This sound cannot be used", text: message };
  if (status < 500) return { title: "Invalid search", text: message };
  return { title: "Server error", text: message || "See the server’s log for details." };
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
    node.textContent = left ? `Trying again in ${left} s` : "Trying again…";
  };
  show();
  countdown = setInterval(show, 250);
}

// Quoted for the shell if the name has special characters.
const command = (name) => `otomatch index FOLDER --library ${quoted(name)}`;

const quoted = (text) =>
  /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
