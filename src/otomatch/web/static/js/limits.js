// Rejects invalid searches with the page's own messages. The server has the same limits.

const LONGEST_ID = 64;
const LONGEST = [
  ["q", "The description", 1000, "Clear the description"],
  ["not", "The exclusion", 1000, "Clear the exclusion"],
  ["folder", "The folder", 4096, "Search all folders"],
];
const LENGTHS = [
  ["min", "The minimum length"],
  ["max", "The maximum length"],
];

// Returns the first fault of a query as { text, fields, remedy }, or null. The remedy is the text
// of a button that empties the fields.
export function findFault(query) {
  return unknownSound(query) ?? tooLong(query) ?? wrongLength(query);
}

function unknownSound({ like, start }) {
  const isPlace = start === "" || isSeconds(start);
  if (like.length <= LONGEST_ID && (!like || isPlace)) return null;
  const text = "The address refers to a sound that does not exist.";
  return { text, fields: ["like", "name", "start"], remedy: "Remove sound" };
}

function tooLong(query) {
  for (const [field, what, most, remedy] of LONGEST) {
    const { length } = [...query[field]]; // in code points, as the server counts
    const text = `${what} can have at most ${most} characters; it has ${length}.`;
    if (length > most) return { text, fields: [field], remedy };
  }
  return null;
}

function wrongLength(query) {
  const remedy = "Clear lengths";
  for (const [field, what] of LENGTHS) {
    if (query[field] !== "" && !isSeconds(query[field])) {
      return { text: `${what} must be 0 seconds or more.`, fields: [field], remedy };
    }
  }
  if (!isCrossed(query)) return null;
  const text = "The minimum length must not exceed the maximum.";
  return { text, fields: ["min", "max"], remedy };
}

export const isCrossed = ({ min, max }) => min !== "" && max !== "" && Number(min) > Number(max);

const isSeconds = (text) => text.trim() !== "" && Number(text) >= 0 && Number(text) < Infinity;
