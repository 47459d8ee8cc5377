// Ratios as people read them, as engine.results.words has them.

export function times(ratio) {
  if (!(ratio <= 1000)) return "> 1000 ×";
  return `${ratio.toFixed(ratio < 10 ? 3 : 1)} ×`;
}

/** Return by how much a perplexity is larger than the dense model's: +18 %, 2.3 ×. */
export function change(ratio) {
  if (!(ratio < 2)) return ratio <= 1000 ? `${ratio.toFixed(1)} ×` : "> 1000 ×";
  const percent = 100 * (ratio - 1);
  if (Math.abs(percent) < 0.05) return "unchanged";
  return `${percent > 0 ? "+" : "−"}${Math.abs(percent).toFixed(Math.abs(percent) < 9.95 ? 1 : 0)} %`;
}

export const kept = (fraction) => `${(100 * fraction).toFixed(1)} % kept`;

export function smaller(fraction) {
  const percent = Math.round(100 * fraction);
  return percent >= 1 ? `${percent} % smaller` : "Hardly smaller";
}

/** Return seconds as people read them. */
export function duration(seconds) {
  if (seconds >= 1) return `${seconds.toPrecision(3)} s`;
  return seconds >= 1e-3 ? `${Number((1e3 * seconds).toPrecision(3))} ms` : `${Number((1e6 * seconds).toPrecision(3))} µs`;
}

/** Return whether a map would be faster on a device, as engine.devices.roofline's answer does. */
export function outlook(ratio, fits, denseFits, noticeable) {
  if (!fits) return "It does not fit its memory.";
  if (!denseFits) return "It fits, where the dense model does not.";
  if (ratio < 1 - noticeable) return `It will be faster: ${ratio.toFixed(2)} × the dense model's time.`;
  if (ratio <= 1 + noticeable) return "It will be about as fast.";
  return `It will be slower: ${ratio.toFixed(2)} × the dense model's time, because factors are more and smaller operations; widths are not.`;
}

/** Return what a ratio of tokens per second means: 14 % faster, 3.0 % slower. */
export function faster(ratio) {
  const percent = 100 * Math.abs(ratio - 1);
  if (percent < 0.5) return "As fast";
  if (ratio >= 2) return `${ratio.toFixed(1)} × as fast`;
  return `${percent.toFixed(percent < 9.95 ? 1 : 0)} % ${ratio > 1 ? "faster" : "slower"}`;
}
