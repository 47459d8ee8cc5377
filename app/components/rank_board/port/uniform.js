import { conclude, requireFeasible } from "./blocks.js";
import { largestRank } from "./formats.js";
import { blocksInOneFormat } from "./units.js";

// engine.allocation._uniform

export function allocateUniformly(groups, budget, storage, locks, rankStep, constants) {
  const blocks = blocksInOneFormat(groups, storage, locks, rankStep, constants);
  const floors = blocks.map((block) => block.params(block.cheapest));
  requireFeasible(floors.reduce((a, b) => a + b, 0), budget, locks.length);
  const ranks = blocks.map((block) => block.cheapest);
  const dense = blocks.map((block) => block.params(null));
  let sharing = [];
  let remaining = budget;
  blocks.forEach((block, i) => (block.isSettled ? (remaining -= floors[i]) : sharing.push(i)));
  while (sharing.length) {
    const total = sharing.reduce((sum, i) => sum + dense[i], 0);
    if (remaining >= total) {
      for (const i of sharing) ranks[i] = null;
      break;
    }
    // Products of parameter counts do not fit a double.
    const short = sharing.filter((i) => BigInt(floors[i]) * BigInt(total) > BigInt(remaining) * BigInt(dense[i]));
    if (!short.length) {
      for (const i of sharing) {
        const { curve, storage: stored } = blocks[i];
        const share = Number((BigInt(remaining) * BigInt(dense[i])) / BigInt(total));
        ranks[i] = blocks[i].rankAtMost(largestRank(stored, Math.floor(share / curve.matrices), curve.inFeatures, curve.outFeatures));
      }
      break;
    }
    for (const i of short) remaining -= floors[i];
    const gone = new Set(short);
    sharing = sharing.filter((i) => !gone.has(i));
  }
  return conclude(groups, blocks.map((block, i) => [block, ranks[i]]));
}
