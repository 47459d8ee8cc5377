import { conclude, requireFeasible } from "./blocks.js";
import { denseParams, skips } from "./formats.js";
import { blocksInOneFormat } from "./units.js";

// engine.allocation._flrc

export function allocateByImportance(groups, budget, storage, locks, rankStep, constants) {
  const { least_weight: leastWeight } = constants;
  const blocks = blocksInOneFormat(groups, storage, locks, rankStep, constants);
  const ranks = blocks.map((block) => block.cheapest);
  const floors = blocks.map((block) => block.params(block.cheapest));
  requireFeasible(floors.reduce((a, b) => a + b, 0), budget, locks.length);
  const free = [];
  let left = budget;
  blocks.forEach((block, i) => (block.isSettled ? (left -= floors[i]) : free.push(i)));
  if (free.length) divideByWeight(free.map((i) => blocks[i]), left, leastWeight).forEach((rank, k) => (ranks[free[k]] = rank));
  return conclude(groups, blocks.map((block, i) => [block, ranks[i]]));
}

function importanceWeights(blocks, leastWeight) {
  const largest = Math.max(...blocks.map((block) => block.curve.importance));
  return blocks.map((block) => (largest === 0 ? 1 : Math.max(block.curve.importance / largest, leastWeight)));
}

function divideByWeight(blocks, params, leastWeight) {
  const weights = importanceWeights(blocks, leastWeight);
  const shapes = blocks.map(({ curve, storage, first }, i) => ({
    weight: weights[i],
    floor: first,
    reach: curve.reach,
    smaller: Math.min(curve.inFeatures, curve.outFeatures),
    sides: curve.inFeatures + curve.outFeatures,
    saved: skips(storage) ? 1 : 0,
    matrices: curve.matrices,
    dense: denseParams(curve),
  }));
  const factored = (shape, rank) => shape.matrices * (rank * (shape.sides - shape.saved * rank));
  const isDense = (shape, rank) => factored(shape, Math.min(rank, shape.smaller)) >= shape.dense;
  const costOf = (constant) => {
    let sum = 0;
    for (const shape of shapes) {
      const rank = Math.max(shape.weight * constant, shape.floor);
      sum += isDense(shape, rank) ? shape.dense : factored(shape, Math.min(rank, shape.reach));
    }
    return sum;
  };
  const constant = bisect(costOf, params, 2 * Math.max(...shapes.map((shape) => shape.smaller / shape.weight)));
  const proportional = shapes.map((shape) => shape.weight * constant);
  const ranks = blocks.map((block, i) => {
    const wanted = Math.max(proportional[i], shapes[i].floor);
    return isDense(shapes[i], wanted) ? null : block.rankAtMost(Math.trunc(wanted));
  });
  let left = params - blocks.reduce((sum, block, i) => sum + block.params(ranks[i]), 0);
  const rounded = ranks.map((_, i) => i).filter((i) => ranks[i] !== null);
  const fractions = ranks.map((rank, i) => (rank === null ? 0 : proportional[i] - rank));
  // Array.prototype.sort is stable: ties stay in model order.
  for (const i of rounded.sort((a, b) => fractions[b] - fractions[a])) {
    const above = ranks[i] + blocks[i].step;
    const following = above <= blocks[i].last ? above : null;
    const extra = blocks[i].params(following) - blocks[i].params(ranks[i]);
    if (extra <= left) {
      ranks[i] = following;
      left -= extra;
    }
  }
  return ranks;
}

function bisect(costOf, params, top) {
  let low = 0;
  let high = top;
  if (costOf(high) <= params) return high;
  for (;;) {
    const middle = low + (high - low) / 2;
    if (!(low < middle && middle < high)) return low;
    if (costOf(middle) <= params) low = middle;
    else high = middle;
  }
}
