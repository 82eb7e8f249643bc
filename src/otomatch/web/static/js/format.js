// Formats numbers and times for people.

const counts = new Intl.NumberFormat("en");

export const count = (number) => counts.format(number);

export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

// 4.2 -> "4.2 s", 133 -> "2:13", 4000 -> "1:06:40"
export function time(seconds) {
  return seconds < 60 ? `${seconds.toFixed(1)} s` : clock(seconds);
}

export function clock(seconds, decimals = 0) {
  const rounded = Number(Math.max(0, seconds || 0).toFixed(decimals));
  const hours = Math.floor(rounded / 3600);
  const minutes = Math.floor(rounded / 60) % 60;
  const rest = (rounded % 60).toFixed(decimals).padStart(decimals ? decimals + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

// "1.2–3.7 s of 5.0 s", "2:13–2:18 of 12:40"; only the length if the span is the whole sound
export function span(start, end, duration) {
  if (start < 0.05 && end > duration - 0.05) return time(duration);
  if (duration < 60) return `${start.toFixed(1)}–${time(end)} of ${time(duration)}`;
  return `${clock(start)}–${clock(end)} of ${clock(duration)}`;
}

export function total(seconds) {
  const minutes = Math.round(seconds / 60);
  if (minutes < 1) return time(seconds);
  if (minutes < 60) return `${minutes} min`;
  return `${count(Math.floor(minutes / 60))} h ${minutes % 60} min`;
}

export const milliseconds = (seconds) =>
  seconds < 1 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : `${seconds.toFixed(1)} s`;
