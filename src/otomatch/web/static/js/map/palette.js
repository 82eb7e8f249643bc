// Marks of the clusters. The colours are Okabe and Ito's, which people with any colour vision can
// tell apart, in a darker and a lighter version (css/map.css). Every eight clusters, the shape
// changes.

const COLOURS = 8;
const SHAPES = [circle, diamond, square, triangle];

export function readPalette(node) {
  const style = getComputedStyle(node);
  const value = (name) => style.getPropertyValue(name).trim();
  const probe = node.appendChild(document.createElement("i"));
  // Browsers resolve light-dark() only for real properties.
  const colour = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const clusters = Array.from({ length: COLOURS }, (_, i) => colour(`--cluster-${i}`));
  const palette = {
    clusters,
    other: colour("--cluster-other"),
    paper: colour("--stage"),
    ink: colour("--ink"),
    accent: colour("--accent"),
    font: value("--font"),
  };
  probe.remove();
  return palette;
}

// Draws the pixels of a mark once, to be copied thousands of times. ``radius`` and ``outline`` are
// in CSS pixels, each ``ratio`` pixels of the screen wide.
export function stamp(palette, cluster, { radius, outline, alpha, ratio }) {
  const size = 2 * Math.ceil((1.2 * radius + outline + 0.5) * ratio);
  const draw = new OffscreenCanvas(size, size).getContext("2d", { willReadFrequently: true });
  draw.globalAlpha = alpha;
  draw.translate(size / 2, size / 2);
  draw.scale(ratio, ratio);
  draw.beginPath();
  SHAPES[cluster < 0 ? 0 : Math.floor(cluster / COLOURS) % SHAPES.length](draw, radius);
  draw.fillStyle = cluster < 0 ? palette.other : palette.clusters[cluster % COLOURS];
  draw.fill();
  if (outline) {
    draw.lineWidth = outline;
    draw.strokeStyle = palette.ink;
    draw.stroke();
  }
  return draw.getImageData(0, 0, size, size);
}

function circle(draw, r) {
  draw.arc(0, 0, r, 0, 2 * Math.PI);
}

function square(draw, r) {
  draw.rect(-0.85 * r, -0.85 * r, 1.7 * r, 1.7 * r);
}

function diamond(draw, r) {
  polygon(draw, [0, -1.2 * r, 1.2 * r, 0, 0, 1.2 * r, -1.2 * r, 0]);
}

function triangle(draw, r) {
  polygon(draw, [0, -1.15 * r, 1.1 * r, 0.8 * r, -1.1 * r, 0.8 * r]);
}

function polygon(draw, points) {
  draw.moveTo(points[0], points[1]);
  for (let i = 2; i < points.length; i += 2) draw.lineTo(points[i], points[i + 1]);
  draw.closePath();
}
