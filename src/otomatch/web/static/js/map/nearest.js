// Finds the point under the pointer, or the next one in a direction.

const DIRECTIONS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

// ``xs`` and ``ys`` are screen positions. Returns -1 if no point is within ``reach`` pixels.
export function nearest(xs, ys, x, y, reach = Infinity) {
  let best = -1;
  let least = reach * reach;
  for (let i = 0; i < xs.length; i += 1) {
    const distance = (xs[i] - x) ** 2 + (ys[i] - y) ** 2;
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

// Returns the nearest point within 45 degrees of an arrow key, or -1; distance aside counts double.
export function nextInDirection(xs, ys, from, key) {
  const [dx, dy] = DIRECTIONS[key];
  let best = -1;
  let least = Infinity;
  for (let i = 0; i < xs.length; i += 1) {
    const [x, y] = [xs[i] - xs[from], ys[i] - ys[from]];
    const along = x * dx + y * dy;
    const aside = Math.abs(x * dy) + Math.abs(y * dx);
    const cost = along + 2 * aside;
    if (i !== from && along > 0 && aside <= along && cost < least) [best, least] = [i, cost];
  }
  return best;
}

export const isDirection = (key) => key in DIRECTIONS;
