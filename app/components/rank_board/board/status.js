import { blockParams, denseParams, maxUsefulRank } from "../port/formats.js";
import { counted, percentText, ratioText, short } from "./text.js";

/** Return what is known about one projection, line by line. */
export function describe(board, name) {
  if (name === null) return [];
  const projection = board.projections.get(name);
  const { layer, kind, matrices } = projection;
  const cell = board.decided?.get(name);
  const held = board.isHeld(name) ? ", held" : "";
  const who = `Layer ${layer}, ${kind}${matrices > 1 ? ` of ${matrices} experts` : ""}`;
  if (!cell) return [`${who}: no map${held}`];
  const rounded = roundedText(cell);
  if (cell.rank === null) {
    const size = `${short(denseParams(projection))} parameters`;
    return [`${who}: dense${held}`, ...(rounded ? [size, rounded] : [`${size}, no predicted loss`])];
  }
  if (cell.format === "width") return describeWidth(board, who, cell, held);
  const { curve, rank, full, format, members } = cell;
  const cost = blockParams(curve, format, rank);
  const dense = denseParams(curve);
  const breakEven = maxUsefulRank(format, curve.inFeatures, curve.outFeatures);
  const share = ((cost / dense) * 100).toFixed(1);
  const saves = rank > breakEven ? `above break-even (${breakEven}): dense would be smaller` : `break-even at rank ${breakEven}`;
  return [
    `${who}: rank ${rank} of ${full}, ${format}${sharedText(board, name, members)}${held}`,
    `${short(cost)} parameters, ${share} % of dense`,
    saves,
    `σ at the cut: ${cutText(curve, rank)} of the largest`,
    `${curve.natsAt(rank).toPrecision(3)} nats per token predicted`,
    ...(rounded ? [rounded] : []),
  ];
}

/** Return what is said of a block's bits, or an empty text where its weights are not rounded. */
function roundedText({ bits, rounding }) {
  if (!(bits < 16)) return "";
  return `${bits} bits${rounding === undefined ? "" : `, rounding adds ${rounding.toPrecision(3)} nats`}`;
}

function describeWidth(board, who, cell, held) {
  const { curve, rank, full, format, members } = cell;
  const cost = blockParams(curve, format, rank);
  const kinds = members.map((member) => board.projections.get(member).kind);
  return [
    `${who}: width, kept ${counted(rank)} of ${counted(full)} neurons${held}`,
    `${kinds.slice(0, -1).join(", ")} and ${kinds.at(-1)} keep the same neurons and move together`,
    `${short(cost)} parameters, ${((rank / full) * 100).toFixed(1)} % of dense`,
    `${curve.natsAt(rank).toPrecision(3)} nats per token predicted`,
    ...[roundedText(cell)].filter(Boolean),
  ];
}

function sharedText(board, name, members) {
  const others = members.filter((member) => member !== name).map((member) => board.projections.get(member).kind);
  if (!others.length) return "";
  const then = board.state.base ? "they change together" : "holding it takes them apart";
  return `, one block with ${others.join(" and ")} (${then})`;
}

/** Return the last kept singular value over the largest; discarded energies differ by their squares. */
function cutText({ nats, step }, rank) {
  const place = Math.min(Math.max(Math.ceil(rank / step), 1), nats.length - 1);
  const [first, last] = [nats[0] - nats[1], nats[place - 1] - nats[place]];
  return first > 0 ? `${(Math.sqrt(Math.max(last, 0) / first) * 100).toPrecision(2)} %` : "unknown";
}

/** Return what a settled change did, for those who hear the board. */
export function sayChange(board, before, now) {
  const said = [];
  if (before.method !== now.method) said.push(`${board.titleOf(now.method)} is shown`);
  if (before.target !== now.target && now.target !== null) said.push(`predicted perplexity at most ${ratioText(now.target / board.data.dense_perplexity)} that of the dense model`);
  else if (before.time !== now.time && now.time) said.push(`at most ${Number(now.time.ms.toPrecision(4))} milliseconds per token`);
  else if (before.keep !== now.keep || before.target !== now.target) said.push(`budget ${percentText(now.keep)}`);
  if ((before.base === null) !== (now.base === null)) said.push(`rebalancing is ${now.base ? "off" : "on"}`);
  const names = [...new Set([...Object.keys(before.held), ...Object.keys(now.held)])];
  const changed = names.filter((name) => before.held[name] !== now.held[name]);
  if (changed.length === 1) said.push(heldText(board, changed[0], now.held[changed[0]]));
  else if (changed.length) said.push(`${changed.length} projections changed, ${Object.keys(now.held).length} are held`);
  const figures = board.cards.figures.get(now.method);
  if (!figures) said.push("no map fits");
  else said.push(`${percentText(figures.kept)} kept, predicted perplexity ${ratioText(figures.ratio)} that of the dense model`);
  return `${said.join("; ")}.`;
}

function heldText(board, name, rank) {
  const mlp = board.planner.mlps.get(name);
  if (mlp) {
    const is = rank === undefined ? "is released" : `is held at ${counted(rank)} of ${counted(mlp.neurons)} neurons`;
    return `layer ${board.projections.get(mlp.members[0]).layer}, the MLP ${is}`;
  }
  const { layer, kind } = board.projections.get(name);
  return `layer ${layer}, ${kind} ${rank === undefined ? "is released" : `is held at rank ${rank}`}`;
}
