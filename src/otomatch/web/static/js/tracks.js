// What the player plays: a hit, a point of the map, or the file that is searched with.

import { soundUrl } from "./api.js";

export const trackOfHit = (hit) => ({
  id: hit.id,
  name: hit.name,
  where: hit.folder,
  url: soundUrl(hit.id, "audio"),
  start: hit.start,
  end: hit.end,
  duration: hit.duration,
});

export const trackOfPoint = ({ id, name }, where) => ({
  id,
  name,
  where,
  url: soundUrl(id, "audio"),
  start: 0,
  end: 0,
  duration: null,
});

const urls = new WeakMap(); // one address for each file, however often it is played

export function trackOfFile(file) {
  if (!urls.has(file)) urls.set(file, URL.createObjectURL(file));
  const [id, where] = ["", "the sound you search with"];
  return { id, name: file.name, where, url: urls.get(file), start: 0, end: 0, duration: null };
}
