// Pointer, wheel and pinch gestures on the map's canvas.

const STILL = 5; // maximum movement of a click, in pixels

// ``on``: hover(x, y), leave(), press(x, y), moved(); positions are in pixels of the canvas
export function wireGestures(canvas, camera, on) {
  const fingers = new Map();
  let travelled = 0;

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    if (fingers.size === 1) travelled = 0;
  });

  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    const before = fingers.get(event.pointerId);
    if (!before) return on.hover(x, y);
    const apart = spread(fingers);
    fingers.set(event.pointerId, [x, y]);
    const [dx, dy] = [(x - before[0]) / fingers.size, (y - before[1]) / fingers.size];
    travelled += Math.hypot(dx, dy);
    camera.panBy(dx, dy);
    if (apart) camera.zoomBy(spread(fingers) / apart, ...centre(fingers));
    return on.moved();
  });

  const lift = (event) => {
    const wasAlone = fingers.size === 1 && fingers.delete(event.pointerId);
    if (!wasAlone) {
      fingers.delete(event.pointerId);
      travelled = Infinity; // the end of a pinch is not a click
    } else if (event.type === "pointerup" && travelled < STILL) on.press(...place(event));
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => on.leave());

  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      camera.zoomBy(Math.exp(-event.deltaY * lines * 0.002), ...place(event));
      on.moved();
    },
    { passive: false },
  );
}

function spread(fingers) {
  if (fingers.size < 2) return 0;
  const [a, b] = fingers.values();
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

function centre(fingers) {
  const [a, b] = fingers.values();
  return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
}
