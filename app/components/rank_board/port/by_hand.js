import { NoAllocation } from "./blocks.js";
import { blockParams, isShared, maxUsefulRank, skips } from "./formats.js";

// engine.methods.editing: what ranks, and widths of MLPs, held by hand mean. A model tells the shapes of its projections
// and has its MLPs by name.

const dense = (name) => ({ members: [name], format: "dense", rank: null });

function lockOf(name, rank, formats, { shapeOf }) {
  const { inFeatures, outFeatures, matrices } = shapeOf(name);
  const format = formats.some(skips) && matrices === 1 ? "skip" : "low-rank";
  const isDense = rank === null || rank > maxUsefulRank(format, inFeatures, outFeatures);
  return isDense ? dense(name) : { members: [name], format, rank };
}

function locksOf(name, rank, formats, model) {
  const mlp = model.mlps.get(name);
  if (!mlp) return [lockOf(name, rank, formats, model)];
  return rank < mlp.neurons ? [{ members: mlp.members, format: "width", rank }] : mlp.members.map(dense);
}

/** Return what is held in a method's cheapest format, or dense where that costs no less. */
export function locksFor(method, held, model) {
  return Object.entries(held).flatMap(([name, rank]) => locksOf(name, rank, method.formats, model));
}

/** Return a map in which what is held is as it is held, and every other block as it was. */
export function editMap(plan, method, held, model, curveOf) {
  const mlpOf = new Map();
  for (const mlp of model.mlps.values()) if (mlp.name in held) for (const name of mlp.members) mlpOf.set(name, mlp);
  const blocks = plan.blocks.flatMap((block) => atBits(editBlock(block, method.formats, held, mlpOf, model), block));
  let params = 0;
  let nats = 0;
  for (const { members, format, rank, rounding = 0 } of blocks) {
    const curve = curveOf(members);
    if (!curve) throw new NoAllocation("A width is held, but this metric has none; release it.");
    if (rank !== null && rank > curve.reach) throw new NoAllocation("A held rank is larger than was analysed; lower or release it.");
    params += blockParams(curve, format, rank);
    nats += rounding + (rank === null ? 0 : curve.natsAt(rank));
  }
  return { blocks, params, nats };
}

/** Return edited blocks with the bits of the one they were, which a skip format is never rounded to, and its harm. */
function atBits(edited, { bits, rounding }) {
  if (bits === undefined) return edited;
  return edited.map((each, i) => ({ ...each, bits: skips(each.format) ? 16 : bits, rounding: i ? 0 : rounding }));
}

function editBlock(block, formats, held, mlpOf, model) {
  const { members, format } = block;
  const ranks = new Set(members.filter((name) => name in held).map((name) => held[name]));
  const isNarrowed = members.some((name) => mlpOf.has(name));
  if (!ranks.size && !isNarrowed) return [block];
  if (ranks.size === 1 && members.length > 1 && isShared(format) && !isNarrowed) {
    const [rank] = ranks;
    const shapes = members.map(model.shapeOf);
    const width = shapes.reduce((sum, { outFeatures }) => sum + outFeatures, 0);
    return rank <= maxUsefulRank(format, shapes[0].inFeatures, width) ? [{ members, format, rank }] : members.map(dense);
  }
  // Apart, what a width leaves has no rank.
  const own = format === "width" ? null : block.rank;
  return members.flatMap((name) => {
    const mlp = mlpOf.get(name);
    if (!mlp) return [lockOf(name, held[name] ?? own, formats, model)];
    return locksOf(mlp.name, held[mlp.name], formats, model).filter((lock) => lock.members[0] === name);
  });
}
