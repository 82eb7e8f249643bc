// What cannot be searched for, said before the server is asked, which holds to the same limits.

const LONGEST_ID = 64;
const LONGEST = [
  ["q", "The description", 1000, "Clear the description"],
  ["not", "What to leave out", 1000, "Clear what to leave out"],
  ["folder", "The folder", 4096, "Search all folders"],
];
const LENGTHS = [
  ["min", "Shortest length"],
  ["max", "Longest length"],
];

// The first fault of a query: { text, fields, remedy }, where emptying the fields is the remedy; null
// where there is none.
export function findFault(query) {
  return unknownSound(query) ?? tooLong(query) ?? wrongLength(query);
}

function unknownSound({ like, start }) {
  const isPlace = start === "" || isSeconds(start);
  if (like.length <= LONGEST_ID && (!like || isPlace)) return null;
  const text = "The address names no sound of a library.";
  return { text, fields: ["like", "name", "start"], remedy: "Remove the sound" };
}

function tooLong(query) {
  for (const [field, what, most, remedy] of LONGEST) {
    const { length } = [...query[field]]; // characters as the server counts them
    const text = `${what} must have at most ${most} characters; it has ${length}.`;
    if (length > most) return { text, fields: [field], remedy };
  }
  return null;
}

function wrongLength(query) {
  const remedy = "Clear the lengths";
  for (const [field, what] of LENGTHS) {
    if (query[field] !== "" && !isSeconds(query[field])) {
      return { text: `${what} must be 0 or more seconds.`, fields: [field], remedy };
    }
  }
  if (!isCrossed(query)) return null;
  const text = "Shortest length must not be above the longest.";
  return { text, fields: ["min", "max"], remedy };
}

export const isCrossed = ({ min, max }) => min !== "" && max !== "" && Number(min) > Number(max);

const isSeconds = (text) => text.trim() !== "" && Number(text) >= 0 && Number(text) < Infinity;
