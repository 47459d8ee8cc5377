/** Return what is known about one projection, in words. */
export function describe(board, name) {
  if (name === null) return "Drag a bar to hold its rank; double-click it to keep it dense. Everything else gives way.";
  const { layer, kind } = board.projections.get(name);
  const cell = board.decided?.get(name);
  const held = name in board.state.held ? ", held" : "";
  if (!cell) return `Layer ${layer}, ${kind}: no map${held}`;
  if (cell.rank === null) return `Layer ${layer}, ${kind}: dense${held}, no predicted loss`;
  const { curve, rank, full, format, members } = cell;
  const cost = rank * (curve.inFeatures + curve.outFeatures) - (format.startsWith("skip") ? rank * rank : 0);
  const others = members.filter((member) => member !== name).map((member) => board.projections.get(member).kind);
  const shared = others.length ? ` shared with ${others.join(", ")}` : "";
  const share = ((cost / (curve.inFeatures * curve.outFeatures)) * 100).toFixed(1);
  const nats = curve.natsAt(rank).toPrecision(3);
  return `Layer ${layer}, ${kind}: rank ${rank} of ${full}, ${format}${shared}${held}; ${share} % of its parameters, ${nats} nats predicted`;
}
