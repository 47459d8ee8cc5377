import { NoAllocation } from "./blocks.js";
import { maxUsefulRank, rankParams, skips } from "./formats.js";

// engine.methods.editing: what ranks held by hand mean.

function lockOf(name, rank, formats, shapeOf) {
  const format = formats.some(skips) ? "skip" : "low-rank";
  const { inFeatures, outFeatures } = shapeOf(name);
  const isDense = rank === null || rank > maxUsefulRank(format, inFeatures, outFeatures);
  return isDense ? { members: [name], format: "dense", rank: null } : { members: [name], format, rank };
}

/** Return held ranks in a method's cheapest format, or dense where that costs no less. */
export function locksFor(method, held, shapeOf) {
  return Object.entries(held).map(([name, rank]) => lockOf(name, rank, method.formats, shapeOf));
}

/** Return a map in which held projections have their ranks and every other block is as it was. */
export function editMap(plan, method, held, shapeOf, curveOf) {
  const blocks = plan.blocks.flatMap((block) => editBlock(block, method.formats, held, shapeOf));
  let params = 0;
  let nats = 0;
  for (const { members, format, rank } of blocks) {
    const curve = curveOf(members);
    if (rank !== null && rank > curve.reach) throw new NoAllocation("A held rank is larger than was analysed; lower or release it.");
    const { inFeatures, outFeatures } = curve;
    params += rank === null ? inFeatures * outFeatures : rankParams(format, rank, inFeatures, outFeatures);
    nats += rank === null ? 0 : curve.natsAt(rank);
  }
  return { blocks, params, nats };
}

function editBlock(block, formats, held, shapeOf) {
  const { members, format } = block;
  const ranks = new Set(members.filter((name) => name in held).map((name) => held[name]));
  if (!ranks.size) return [block];
  if (members.length > 1 && ranks.size === 1) {
    const [rank] = ranks;
    const shapes = members.map(shapeOf);
    const width = shapes.reduce((sum, { outFeatures }) => sum + outFeatures, 0);
    if (rank <= maxUsefulRank(format, shapes[0].inFeatures, width)) return [{ members, format, rank }];
    return members.map((name) => ({ members: [name], format: "dense", rank: null }));
  }
  return members.map((name) => lockOf(name, held[name] ?? block.rank, formats, shapeOf));
}
