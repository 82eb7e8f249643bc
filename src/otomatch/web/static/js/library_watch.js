// Notices when the library is indexed again while the page is open.

import { health } from "./api.js";

const PERIOD = 60; // seconds

// Calls ``show(answer)`` with the library's status at first and whenever its sounds have changed;
// on a change, also calls ``changed()``.
export function watchLibrary(show, changed) {
  let known = null;
  const look = async () => {
    if (document.hidden) return;
    const answer = await health().catch(() => null); // the search or the map shows the error
    if (!answer) return;
    const now = [answer.sounds, answer.windows, answer.seconds].join();
    if (now === known) return;
    const isFirst = known === null;
    known = now;
    show(answer);
    if (!isFirst) changed();
  };
  setInterval(look, 1000 * PERIOD);
  document.addEventListener("visibilitychange", look);
  look();
}
