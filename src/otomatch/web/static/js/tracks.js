// Tracks for the player: a hit, a point of the map, or the file to search with.

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

const urls = new WeakMap(); // one address per file, however often it is played

export function trackOfFile(file) {
  if (!urls.has(file)) urls.set(file, URL.createObjectURL(file));
  const [id, where] = ["", "your sound"];
  return { id, name: file.name, where, url: urls.get(file), start: 0, end: 0, duration: null };
}
