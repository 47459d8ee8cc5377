import { Block, UNSHARED, assignLocks, canShare, conclude, requireFeasible } from "./blocks.js";
import { isShared, skips } from "./formats.js";
import { traceBlock, traceGroup } from "./hull.js";
import { unreachable } from "./targets.js";

// engine.allocation._frontier

/** Every budget's best allocation. Locks change the hulls of their own groups only; all others are kept. */
export class Frontier {
  constructor(groups, formats, rankStep, mostBridged) {
    Object.assign(this, { groups, formats, rankStep, mostBridged, hulls: new Map(), chains: [], keys: [] });
    this.setLocks([]);
  }

  setLocks(locks) {
    assignLocks(this.groups, locks).forEach((fixed, index) => {
      const key = JSON.stringify([fixed.whole, fixed.members]);
      if (this.keys[index] === key) return;
      this.chains[index] = this.chainOf(this.groups[index], fixed);
      this.keys[index] = key;
    });
  }

  chainOf(group, fixed) {
    const trace = (block) => traceBlock(block, this.mostBridged);
    if (fixed.whole !== null) return traceGroup([trace(Block.locked(group.shared, fixed.whole))], null, this.mostBridged);
    let together = null;
    let alone;
    if (canShare(group, fixed)) {
      alone = cheapestOf(this.formats.filter((storage) => !isShared(storage)));
      const storage = cheapestOf(this.formats.filter(isShared));
      if (storage !== "dense") together = this.openHull(group.shared, storage);
    } else {
      alone = cheapestOf(this.formats.map((storage) => UNSHARED[storage] ?? storage));
    }
    const hulls = group.separate.map((curve, member) => {
      const lock = fixed.members[member];
      return lock ? trace(Block.locked(curve, lock)) : this.openHull(curve, alone);
    });
    return traceGroup(hulls, together, this.mostBridged);
  }

  openHull(curve, storage) {
    const key = `${storage} ${curve.members.join("+")}`;
    if (!this.hulls.has(key)) this.hulls.set(key, traceBlock(Block.open(curve, storage, this.rankStep), this.mostBridged));
    return this.hulls.get(key);
  }

  allocate(budget) {
    const vertices = this.chains.map(() => 0);
    const floor = this.chains.reduce((sum, chain) => sum + chain.costs[0], 0);
    requireFeasible(floor, budget);
    const left = this.takePrefix(budget, vertices);
    this.spend(left, vertices);
    return this.at(vertices);
  }

  /** Return the shortest prefix of all edges, by slope, whose predicted perplexity over dense is at most `ratio`. */
  allocateToRatio(predictRatio, ratio) {
    const misses = (nats) => !(predictRatio(nats) <= ratio);
    const natsAt = (slope) => this.chains.reduce((sum, chain) => sum + chain.nats[countAtMost(chain.slopes, slope)], 0);
    if (misses(natsAt(0))) throw unreachable();
    if (!misses(natsAt(-Infinity))) return this.at(this.chains.map(() => 0));
    const [low, high] = this.bisect((slope) => misses(natsAt(slope)));
    const vertices = this.chains.map((chain) => countAtMost(chain.slopes, low));
    let nats = natsAt(low);
    for (const [group, chain] of this.edgesUpTo(high, vertices)) {
      if (!misses(nats)) break;
      nats += chain.nats[vertices[group] + 1] - chain.nats[vertices[group]];
      vertices[group] += 1;
    }
    return this.at(vertices);
  }

  at(vertices) {
    return conclude(this.chains.flatMap((chain, group) => chain.decisions(vertices[group])));
  }

  /** Return neighbouring doubles such that `isBefore` holds at the first slope and no longer at the second. */
  bisect(isBefore) {
    const steepest = Math.min(0, ...this.chains.map((chain) => (chain.slopes.length ? chain.slopes[0] : 0)));
    let low = 2 * steepest - Number.MIN_VALUE;
    let high = 0;
    if (isBefore(high)) return [high, high];
    for (;;) {
      const middle = low + (high - low) / 2;
      if (!(low < middle && middle < high)) return [low, high];
      if (isBefore(middle)) low = middle;
      else high = middle;
    }
  }

  /** Walk the edges of slopes up to `high` from `vertices` on: by group, then by place. */
  *edgesUpTo(high, vertices) {
    for (let group = 0; group < this.chains.length; group += 1) {
      const chain = this.chains[group];
      while (vertices[group] < chain.slopes.length && chain.slopes[vertices[group]] <= high) yield [group, chain];
    }
  }

  /** Move `vertices` along the longest prefix of all edges, by slope, that fits; return what is left. */
  takePrefix(budget, vertices) {
    const costAt = (slope) => this.chains.reduce((sum, chain) => sum + chain.costs[countAtMost(chain.slopes, slope)], 0);
    const [low, high] = this.bisect((slope) => costAt(slope) <= budget);
    let left = budget;
    this.chains.forEach((chain, group) => {
      vertices[group] = countAtMost(chain.slopes, low);
      left -= chain.costs[vertices[group]];
    });
    for (const [group, { costs }] of this.edgesUpTo(high, vertices)) {
      const extra = costs[vertices[group] + 1] - costs[vertices[group]];
      if (extra > left) break;
      left -= extra;
      vertices[group] += 1;
    }
    return left;
  }

  /** Walk the remaining edges in order and move along each that starts at its group's vertex and fits. */
  spend(params, vertices) {
    let left = params;
    const slope = (group) => this.chains[group].slopes[vertices[group]];
    const ahead = vertices.map((_, group) => group).filter((group) => vertices[group] < this.chains[group].slopes.length);
    ahead.sort((a, b) => slope(a) - slope(b) || a - b);
    while (ahead.length) {
      const group = ahead.shift();
      const { costs, slopes } = this.chains[group];
      const extra = costs[vertices[group] + 1] - costs[vertices[group]];
      if (extra > left) continue;
      left -= extra;
      vertices[group] += 1;
      if (vertices[group] >= slopes.length) continue;
      let place = 0;
      while (place < ahead.length && (slope(ahead[place]) < slope(group) || (slope(ahead[place]) === slope(group) && ahead[place] < group))) place += 1;
      ahead.splice(place, 0, group);
    }
  }
}

function cheapestOf(formats) {
  const factored = formats.filter((storage) => storage !== "dense");
  return factored.find(skips) ?? factored[0] ?? "dense";
}

function countAtMost(slopes, slope) {
  let low = 0;
  let high = slopes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (slopes[middle] <= slope) low = middle + 1;
    else high = middle;
  }
  return low;
}
