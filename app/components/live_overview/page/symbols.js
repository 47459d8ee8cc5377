// Outlines of the markers that the other charts use under the same names, around the origin.

const polygon = (radii, turn) =>
  radii.map((radius, i) => {
    const angle = turn + (2 * Math.PI * i) / radii.length;
    return `${i ? "L" : "M"}${(radius * Math.sin(angle)).toFixed(2)} ${(-radius * Math.cos(angle)).toFixed(2)}`;
  }).join("") + "Z";

const cross = (r) => {
  const t = r / 2.5;
  return `M${-t} ${-r}H${t}V${-t}H${r}V${t}H${t}V${r}H${-t}V${t}H${-r}V${-t}H${-t}Z`;
};

const OUTLINES = {
  circle: (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
  square: (r) => polygon([r, r, r, r].map((one) => one * 1.25), Math.PI / 4),
  diamond: (r) => polygon([r, r, r, r].map((one) => one * 1.25), 0),
  "triangle-up": (r) => polygon([r, r, r].map((one) => one * 1.3), 0),
  star: (r) => polygon(Array.from({ length: 10 }, (_, i) => (i % 2 ? 0.55 : 1.4) * r), 0),
  hexagon2: (r) => polygon(Array(6).fill(1.15 * r), Math.PI / 6),
  cross,
  x: (r) => polygon([1.3, 0.45, 1.3, 0.45, 1.3, 0.45, 1.3, 0.45].map((one) => one * r), Math.PI / 4),
};

export const outline = (symbol, radius) => OUTLINES[symbol](radius);
