// Numbers as people read them, as app.wording.labels has them.

export function short(value) {
  for (const [size, unit] of [[1e9, " B"], [1e6, " M"], [1e3, " k"]]) {
    if (value >= size) return `${Number((value / size).toPrecision(4))}${unit}`;
  }
  return String(value);
}

export const megabytes = (bytes) =>
  bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toPrecision(4)} MB`;

export const percentText = (fraction) => `${(fraction * 100).toFixed(1)} %`;

export const perplexityText = (value) =>
  value < 1e4 ? value.toFixed(2) : value < 1e9 ? value.toExponential(1) : "over 1e+9";
