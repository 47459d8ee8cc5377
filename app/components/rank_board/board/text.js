// Numbers as people read them, as app.wording.labels has them.

export function short(value) {
  for (const [size, unit] of [[1e9, " B"], [1e6, " M"], [1e3, " k"]]) {
    if (value >= size) return `${Number((value / size).toPrecision(4))}${unit}`;
  }
  return String(value);
}

export function megabytes(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(2)} GB`;
  if (bytes >= 1e5) return `${(bytes / 1e6).toPrecision(4)} MB`;
  return bytes >= 1e3 ? `${Number((bytes / 1e3).toPrecision(3))} kB` : `${bytes} bytes`;
}

export const counted = (value) => value.toLocaleString("en");

export const percentText = (fraction) => `${(fraction * 100).toFixed(1)} %`;

export const perplexityText = (value) => (value < 1e4 ? value.toFixed(2) : "over 10,000");

/** Return how many times something is, as engine.results.words.ratio does. */
export const ratioText = (value) => (value > 1000 ? "> 1000 ×" : `${value.toFixed(value < 10 ? 3 : 1)} ×`);
