// The allocators of engine.allocation, step by step: the same floating-point operations in the same order, so that
// every rank map is exactly Python's. Costs are whole numbers below 2^53; a rank of null is dense.

const UNSHARED = { cat: "low-rank", "skip+cat": "skip" };
const FEW = 8;
const LEAST_WEIGHT = 1e-12;

export class NoAllocation extends Error {}

const skips = (storage) => storage === "skip" || storage === "skip+cat";
const isShared = (storage) => storage === "cat" || storage === "skip+cat";

export function rankParams(storage, rank, inFeatures, outFeatures) {
  return rank * (inFeatures + outFeatures) - (skips(storage) ? rank * rank : 0);
}

export function maxUsefulRank(storage, inFeatures, outFeatures) {
  if (skips(storage)) return Math.min(inFeatures, outFeatures) - 1;
  return Math.floor((inFeatures * outFeatures - 1) / (inFeatures + outFeatures));
}

function integerRoot(value) {
  let root = Math.floor(Math.sqrt(value));
  while (root * root > value) root -= 1;
  while ((root + 1) * (root + 1) <= value) root += 1;
  return root;
}

export function largestRank(storage, params, inFeatures, outFeatures) {
  const total = inFeatures + outFeatures;
  if (!skips(storage)) return Math.floor(params / total);
  const discriminant = total * total - 4 * params;
  if (discriminant <= 0) return Math.floor(total / 2);
  return Math.floor((total - integerRoot(discriminant - 1) - 1) / 2);
}

// ---- blocks (engine.allocation._blocks) ----

export class Block {
  constructor(curve, storage, first, last, step, mayBeDense) {
    Object.assign(this, { curve, storage, first, last, step, mayBeDense });
    this.nRanks = first === null || last < first ? 0 : Math.floor((last - first) / step) + 1;
    if (this.nRanks) this.last = first + (this.nRanks - 1) * step;
  }

  static open(curve, storage, step) {
    if (storage === "dense") return new Block(curve, storage, null, null, 1, true);
    const top = Math.min(maxUsefulRank(storage, curve.inFeatures, curve.outFeatures), curve.reach);
    return new Block(curve, storage, step, top, step, true);
  }

  static locked(curve, lock) {
    if (lock.rank === null) return new Block(curve, "dense", null, null, 1, true);
    if (lock.rank > curve.reach) throw new NoAllocation("A rank is held that was not analysed; release it.");
    const storage = curve.members.length === 1 ? UNSHARED[lock.format] ?? lock.format : lock.format;
    return new Block(curve, storage, lock.rank, lock.rank, 1, false);
  }

  get isSettled() {
    return this.nRanks + (this.mayBeDense ? 1 : 0) === 1;
  }

  get cheapest() {
    return this.nRanks ? this.first : null;
  }

  rankAtMost(rank) {
    const steps = Math.floor((Math.min(rank, this.last) - this.first) / this.step);
    return this.first + Math.max(steps, 0) * this.step;
  }

  params(rank) {
    const { inFeatures, outFeatures } = this.curve;
    return rank === null ? inFeatures * outFeatures : rankParams(this.storage, rank, inFeatures, outFeatures);
  }
}

function assignLocks(groups, locks) {
  const lockOf = new Map();
  for (const lock of locks) for (const name of lock.members) lockOf.set(name, lock);
  return groups.map((group) => {
    const names = group.separate.map((curve) => curve.members[0]);
    const first = lockOf.get(names[0]);
    const isWhole = first !== undefined && first.members.length > 1 && first.rank !== null;
    if (isWhole && group.shared === null) throw new NoAllocation("A group is held that was not analysed as one.");
    const members = names.map((name) => (isWhole ? null : lockOf.get(name) ?? null));
    return { whole: isWhole ? first : null, members, isFree: !isWhole && members.every((lock) => lock === null) };
  });
}

const canShare = (group, locks) => group.shared !== null && group.separate.length > 1 && locks.isFree;

function blocksInOneFormat(groups, storage, locks, rankStep) {
  const alone = UNSHARED[storage] ?? storage;
  const blocks = [];
  assignLocks(groups, locks).forEach((fixed, index) => {
    const group = groups[index];
    if (fixed.whole !== null) blocks.push(Block.locked(group.shared, fixed.whole));
    else if (isShared(storage) && canShare(group, fixed)) blocks.push(Block.open(group.shared, storage, rankStep));
    else {
      group.separate.forEach((curve, member) => {
        const lock = fixed.members[member];
        blocks.push(lock ? Block.locked(curve, lock) : Block.open(curve, alone, rankStep));
      });
    }
  });
  return blocks;
}

function requireFeasible(floor, budget) {
  if (floor > budget) throw new NoAllocation("The budget is too small for the held ranks with all else at its lowest.");
}

function conclude(decisions) {
  const blocks = [];
  let params = 0;
  let nats = 0;
  for (const [block, rank] of decisions) {
    params += block.params(rank);
    const { members, inFeatures } = block.curve;
    if (rank === null) for (const name of members) blocks.push({ members: [name], format: "dense", rank, inFeatures });
    else {
      nats += block.curve.natsAt(rank);
      blocks.push({ members, format: block.storage, rank, inFeatures });
    }
  }
  return { blocks, params, nats };
}

// ---- uniform (engine.allocation._uniform) ----

export function allocateUniformly(groups, budget, storage, locks = [], rankStep = 1) {
  const blocks = blocksInOneFormat(groups, storage, locks, rankStep);
  const floors = blocks.map((block) => block.params(block.cheapest));
  requireFeasible(floors.reduce((a, b) => a + b, 0), budget);
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
        ranks[i] = blocks[i].rankAtMost(largestRank(stored, share, curve.inFeatures, curve.outFeatures));
      }
      break;
    }
    for (const i of short) remaining -= floors[i];
    const gone = new Set(short);
    sharing = sharing.filter((i) => !gone.has(i));
  }
  return conclude(blocks.map((block, i) => [block, ranks[i]]));
}

// ---- FLRC (engine.allocation._flrc) ----

export function allocateByImportance(groups, budget, storage, locks = [], rankStep = 1) {
  const blocks = blocksInOneFormat(groups, storage, locks, rankStep);
  const ranks = blocks.map((block) => block.cheapest);
  const floors = blocks.map((block) => block.params(block.cheapest));
  requireFeasible(floors.reduce((a, b) => a + b, 0), budget);
  const free = [];
  let left = budget;
  blocks.forEach((block, i) => (block.isSettled ? (left -= floors[i]) : free.push(i)));
  if (free.length) divideByWeight(free.map((i) => blocks[i]), left).forEach((rank, k) => (ranks[free[k]] = rank));
  return conclude(blocks.map((block, i) => [block, ranks[i]]));
}

function importanceWeights(blocks) {
  const largest = Math.max(...blocks.map((block) => block.curve.importance));
  return blocks.map((block) => (largest === 0 ? 1 : Math.max(block.curve.importance / largest, LEAST_WEIGHT)));
}

function divideByWeight(blocks, params) {
  const weights = importanceWeights(blocks);
  const shapes = blocks.map(({ curve, storage, first }, i) => ({
    weight: weights[i],
    floor: first,
    reach: curve.reach,
    smaller: Math.min(curve.inFeatures, curve.outFeatures),
    sides: curve.inFeatures + curve.outFeatures,
    saved: skips(storage) ? 1 : 0,
    dense: curve.inFeatures * curve.outFeatures,
  }));
  const factored = (shape, rank) => rank * (shape.sides - shape.saved * rank);
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

// ---- hulls (engine.allocation._hull) ----

export function lowerHull(costs, nats) {
  let chain = Array.from(costs, (_, i) => i);
  chain.sort((a, b) => costs[a] - costs[b] || nats[a] - nats[b] || a - b);
  let least = Infinity;
  chain = chain.filter((i) => {
    const better = nats[i] < least;
    if (better) least = nats[i];
    return better;
  });
  for (;;) {
    const x = Float64Array.from(chain, (i) => costs[i]);
    const y = Float64Array.from(chain, (i) => nats[i]);
    const reflex = [];
    for (let i = 1; i + 1 < chain.length; i += 1) {
      if ((y[i + 1] - y[i]) / (x[i + 1] - x[i]) < (y[i] - y[i - 1]) / (x[i] - x[i - 1])) reflex.push(i);
    }
    if (!reflex.length) return chain;
    if (reflex.length > FEW) {
      const gone = new Set(reflex);
      chain = chain.filter((_, i) => !gone.has(i));
    } else {
      const end = reflex.length > 1 ? reflex[1] + 1 : chain.length;
      const [left, right] = commonTangent(x, y, end, reflex[0]);
      chain.splice(left + 1, right - left - 1);
    }
  }
}

function commonTangent(x, y, end, reflex) {
  let left = reflex - 1;
  let right = reflex + 1;
  for (;;) {
    let best = 0;
    let steepest = -Infinity;
    for (let i = 0; i <= left; i += 1) {
      const slope = (y[right] - y[i]) / (x[right] - x[i]);
      if (slope > steepest) [best, steepest] = [i, slope];
    }
    left = best;
    let step = 0;
    let lowest = Infinity;
    for (let i = right; i < end; i += 1) {
      const slope = (y[i] - y[left]) / (x[i] - x[left]);
      if (slope < lowest) [step, lowest] = [i - right, slope];
    }
    if (step === 0) return [left, right];
    right += step;
  }
}

function slopesOf(costs, nats) {
  const slopes = new Float64Array(costs.length - 1);
  for (let i = 0; i < slopes.length; i += 1) slopes[i] = (nats[i + 1] - nats[i]) / (costs[i + 1] - costs[i]);
  return slopes;
}

function traceBlock(block) {
  const ranks = [];
  for (let k = 0; k < block.nRanks; k += 1) ranks.push(block.first + k * block.step);
  const nats = ranks.map((rank) => block.curve.natsAt(rank));
  const costs = ranks.map((rank) => block.params(rank));
  if (block.mayBeDense) {
    ranks.push(null);
    nats.push(0);
    costs.push(block.params(null));
  }
  const kept = lowerHull(costs, nats);
  const pick = (values) => Float64Array.from(kept, (i) => values[i]);
  const hull = { block, ranks: kept.map((i) => ranks[i]), costs: pick(costs), nats: pick(nats) };
  hull.slopes = slopesOf(hull.costs, hull.nats);
  return hull;
}

/** Return the hull of a group: `hulls` of its members, `together` of the shared block or null. */
function traceGroup(hulls, together) {
  const positions = sumPositions(hulls);
  const costs = [];
  const nats = [];
  for (const at of positions) {
    let cost = 0;
    let sum = 0;
    hulls.forEach((hull, member) => {
      cost += hull.costs[at[member]];
      sum += hull.nats[at[member]];
    });
    costs.push(cost);
    nats.push(sum);
  }
  if (together !== null) {
    costs.push(...together.costs);
    nats.push(...together.nats);
  }
  const kept = lowerHull(costs, nats);
  const chain = {
    costs: Float64Array.from(kept, (i) => costs[i]),
    nats: Float64Array.from(kept, (i) => nats[i]),
    decisions(vertex) {
      const i = kept[vertex];
      if (i >= positions.length) return [[together.block, together.ranks[i - positions.length]]];
      return hulls.map((hull, member) => [hull.block, hull.ranks[positions[i][member]]]);
    },
  };
  chain.slopes = slopesOf(chain.costs, chain.nats);
  return chain;
}

/** Merge the hulls' edges by slope, then member, and return each member's vertex after every edge. */
function sumPositions(hulls) {
  const at = hulls.map(() => 0);
  const positions = [at.slice()];
  for (;;) {
    let next = -1;
    hulls.forEach((hull, member) => {
      if (at[member] >= hull.slopes.length) return;
      if (next < 0 || hull.slopes[at[member]] < hulls[next].slopes[at[next]]) next = member;
    });
    if (next < 0) return positions;
    at[next] += 1;
    positions.push(at.slice());
  }
}

// ---- water-filling (engine.allocation._frontier) ----

/** Every budget's best allocation. Locks change the hulls of their own groups only; all others are kept. */
export class Frontier {
  constructor(groups, formats, rankStep = 1) {
    Object.assign(this, { groups, formats, rankStep, hulls: new Map(), chains: [], keys: [] });
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
    if (fixed.whole !== null) return traceGroup([traceBlock(Block.locked(group.shared, fixed.whole))], null);
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
      return lock ? traceBlock(Block.locked(curve, lock)) : this.openHull(curve, alone);
    });
    return traceGroup(hulls, together);
  }

  openHull(curve, storage) {
    const key = `${storage} ${curve.members.join("+")}`;
    if (!this.hulls.has(key)) this.hulls.set(key, traceBlock(Block.open(curve, storage, this.rankStep)));
    return this.hulls.get(key);
  }

  allocate(budget) {
    const vertices = this.chains.map(() => 0);
    const floor = this.chains.reduce((sum, chain) => sum + chain.costs[0], 0);
    requireFeasible(floor, budget);
    const left = this.takePrefix(budget, vertices);
    this.spend(left, vertices);
    return conclude(this.chains.flatMap((chain, group) => chain.decisions(vertices[group])));
  }

  /** Move `vertices` along the longest prefix of all edges, by slope, that fits; return what is left. */
  takePrefix(budget, vertices) {
    const costAt = (slope) => this.chains.reduce((sum, chain) => sum + chain.costs[countAtMost(chain.slopes, slope)], 0);
    const steepest = Math.min(0, ...this.chains.map((chain) => (chain.slopes.length ? chain.slopes[0] : 0)));
    let low = 2 * steepest - Number.MIN_VALUE;
    let high = 0;
    let left = budget;
    if (costAt(high) <= budget) low = high;
    else {
      for (;;) {
        const middle = low + (high - low) / 2;
        if (!(low < middle && middle < high)) break;
        if (costAt(middle) <= budget) low = middle;
        else high = middle;
      }
    }
    this.chains.forEach((chain, group) => {
      vertices[group] = countAtMost(chain.slopes, low);
      left -= chain.costs[vertices[group]];
    });
    // Only edges of exactly one slope are left to choose from: by group, then by place.
    for (let group = 0; group < this.chains.length; group += 1) {
      const { slopes, costs } = this.chains[group];
      while (vertices[group] < slopes.length && slopes[vertices[group]] <= high) {
        const extra = costs[vertices[group] + 1] - costs[vertices[group]];
        if (extra > left) return left;
        left -= extra;
        vertices[group] += 1;
      }
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

// ---- searched maps (engine.allocation._evaluated) ----

export function bestEvaluated(evaluated, budget, locks = []) {
  if (locks.length) throw new NoAllocation("Measured maps are taken as they are: release the held ranks.");
  const fitting = evaluated.filter((found) => found.params <= budget);
  if (!fitting.length) throw new NoAllocation("No map of at most this size has been measured yet.");
  const newest = fitting.reduce((a, b) => (b.created > a.created ? b : a)).measure;
  const better = (a, b) => b.objective < a.objective || (b.objective === a.objective && b.params < a.params);
  const best = fitting.filter((found) => found.measure === newest).reduce((a, b) => (better(a, b) ? b : a));
  const blocks = best.blocks.map(([members, format, rank]) => ({ members, format, rank }));
  return { blocks, params: best.params, nats: best.nats };
}

// ---- methods (engine.presets, app.plans) ----

/** Return what ranks held by hand mean to a method: its cheapest format, or dense where that costs no less. */
export function locksFor(method, held, curveOf) {
  const storage = method.formats.some(skips) ? "skip" : "low-rank";
  return Object.entries(held).map(([name, rank]) => {
    const { inFeatures, outFeatures } = curveOf(name);
    const isDense = rank > maxUsefulRank(storage, inFeatures, outFeatures);
    return isDense ? { members: [name], format: "dense", rank: null } : { members: [name], format: storage, rank };
  });
}

/** All methods of one analysis; `allocate` throws NoAllocation where a method has no map. */
export class Methods {
  constructor(methods, curves, evaluated = []) {
    Object.assign(this, { methods, curves, evaluated, frontiers: new Map() });
  }

  allocate(method, budget, locks) {
    const groups = this.curves.metrics[method.metric];
    if (!groups) throw new NoAllocation(`The analysis has no factors of the ${method.metric} metric.`);
    const { rankStep } = this.curves;
    if (method.allocator === null) return bestEvaluated(this.evaluated, budget, locks);
    if (method.allocator === "uniform") return allocateUniformly(groups, budget, method.formats[0], locks, rankStep);
    if (method.allocator === "flrc") return allocateByImportance(groups, budget, method.formats[0], locks, rankStep);
    const key = `${method.metric} ${method.formats}`;
    if (!this.frontiers.has(key)) this.frontiers.set(key, new Frontier(groups, method.formats, rankStep));
    const frontier = this.frontiers.get(key);
    frontier.setLocks(locks);
    return frontier.allocate(budget);
  }
}
