// The server's JSON API. Every failure is an ApiError with the server's message, if it sent one.

export class ApiError extends Error {
  constructor(status, message, retryAfter = null) {
    super(message);
    this.status = status; // 0: the server could not be reached
    this.retryAfter = retryAfter; // seconds, or null
  }
}

export const soundUrl = (id, what) => `/api/sounds/${encodeURIComponent(id)}/${what}`;

export const spectrogramUrl = (id, width, height) =>
  `${soundUrl(id, "spectrogram")}?${new URLSearchParams({ width, height })}`;

export const health = () => request("/api/health");
export const folders = () => request("/api/folders");
export const map = () => request("/api/map");

// Searches by text, by a sound of the library (query.like) or by a file (sound, else null).
export function search(query, sound, signal) {
  const fields = parameters(query);
  if (sound) return request("/api/search", { method: "POST", body: form(fields, sound), signal });
  if (query.like) {
    if (query.start !== "") fields.set("start", query.start);
    fields.delete("q");
    return request(`${soundUrl(query.like, "similar")}?${fields}`, { signal });
  }
  return request(`/api/search?${fields}`, { signal });
}

// Returns the reason why a sound cannot be played, which an audio element does not tell; null if
// it can be.
export async function whyNot(url) {
  try {
    const answer = await fetch(url, { headers: { Range: "bytes=0-0" } });
    return answer.ok ? null : await failure(answer);
  } catch {
    return unreachable();
  }
}

function parameters(query) {
  const { q, not, folder, min, max, k } = query;
  const all = { q, not, folder, min_duration: min, max_duration: max, k };
  return new URLSearchParams(Object.entries(all).filter(([, value]) => value !== ""));
}

function form(fields, sound) {
  const body = new FormData();
  for (const [name, value] of fields) body.append(name, value);
  body.append("sound", sound, sound.name);
  return body;
}

async function request(url, options = {}) {
  let answer;
  try {
    answer = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
  if (!answer.ok) throw await failure(answer);
  return answer.json();
}

async function failure(answer) {
  const wait = Number.parseFloat(answer.headers.get("Retry-After"));
  const body = await answer.json().catch(() => ({}));
  return new ApiError(answer.status, words(body.detail), Number.isFinite(wait) ? wait : null);
}

// The API sends text; FastAPI would send a list of validation errors.
function words(detail) {
  if (Array.isArray(detail)) return detail.map((entry) => entry.msg ?? String(entry)).join("; ");
  return typeof detail === "string" ? detail : "";
}

const unreachable = () => new ApiError(0, "");
