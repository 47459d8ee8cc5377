// engine.rank_map.identity: a map is measured if exactly what it decides was, whatever its name and method are.

/** Return what a map decides, as app/components/rank_board/data.py writes it of measured ones. */
export function contentOf({ blocks }, metric, placeOf) {
  const isRounded = ({ bits }) => bits !== undefined && bits < 16;
  const wordsOf = ({ format, rank }) => `${format} ${rank === null ? "None" : rank}`;
  const decided = blocks.filter((block) => block.rank !== null || isRounded(block));
  const written = decided.map(
    (block) => `${block.members.map(placeOf).join("+")} ${wordsOf(block)}${isRounded(block) ? ` ${block.bits}` : ""}`,
  );
  return [metric, ...written.sort()].join(";");
}

/** Return the measurement of exactly this map, if there is one; only maps of its size are looked at. */
export function measurementOf(plan, metric, measured, placeOf) {
  const fitting = measured.filter(({ params }) => params === plan.params);
  if (!fitting.length) return undefined;
  const content = contentOf(plan, metric, placeOf);
  return fitting.find((other) => other.content === content);
}
