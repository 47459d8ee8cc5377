// engine.rank_map.identity: a map is measured if exactly what it decides was, whatever its name and method are.

/** Return what a map decides, as app/components/rank_board/data.py writes it of measured ones. */
export function contentOf({ blocks }, metric, placeOf) {
  const factored = blocks.filter(({ rank }) => rank !== null);
  const written = factored.map(({ members, format, rank }) => `${members.map(placeOf).join("+")} ${format} ${rank}`);
  return [metric, ...written.sort()].join(";");
}

/** Return the measurement of exactly this map, if there is one; only maps of its size are looked at. */
export function measurementOf(plan, metric, measured, placeOf) {
  const fitting = measured.filter(({ params }) => params === plan.params);
  if (!fitting.length) return undefined;
  const content = contentOf(plan, metric, placeOf);
  return fitting.find((other) => other.content === content);
}
