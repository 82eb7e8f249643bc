// Notices that the library was indexed again while the page is open.

import { health } from "./api.js";

const PERIOD = 60; // seconds

// ``show(answer)`` is called with what the server says of the library, at first and whenever its
// sounds have changed; in the latter case ``changed()`` is, too.
export function watchLibrary(show, changed) {
  let known = null;
  const look = async () => {
    if (document.hidden) return;
    const answer = await health().catch(() => null); // a search or the map says why
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
