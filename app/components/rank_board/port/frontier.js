import { UNSHARED, alignedStep, conclude, requireFeasible } from "./blocks.js";
import { isShared, skips } from "./formats.js";
import { hullOfBlock, hullOfEither, hullOfSum } from "./hull.js";
import { unreachable } from "./targets.js";
import { unitsOf } from "./units.js";

// engine.allocation._frontier

/** Every budget's best allocation. Locks change the hulls of their own units only; all others are kept. */
export class Frontier {
  constructor(groups, formats, rankStep, constants) {
    const mostBridged = constants.most_bridged;
    Object.assign(this, { groups, formats, rankStep, constants, mostBridged, open: new Map(), hulls: [], keys: [] });
    this.setLocks([]);
  }

  setLocks(locks) {
    this.nLocked = locks.length;
    unitsOf(this.groups, locks).forEach((unit, index) => {
      const key = JSON.stringify([...unit.locks]);
      if (this.keys[index] === key) return;
      this.hulls[index] = this.hullOf(unit);
      this.keys[index] = key;
    });
  }

  hullOf(unit) {
    const lone = cheapestOf(this.formats.map((storage) => UNSHARED[storage] ?? storage));
    const apart = unit.canShare ? cheapestOf(this.formats.filter((storage) => !isShared(storage))) : lone;
    const together = unit.canShare ? cheapestOf(this.formats.filter(isShared)) : "dense";
    const hull = (curve, storage) => this.hullOfCurve(unit, curve, storage);
    const sum = (parts) => hullOfSum(parts, this.mostBridged);
    const either = (options) => hullOfEither(options, this.mostBridged);
    const hullOfMlp = (mlp) => {
      if (unit.isNarrow(mlp)) return hull(mlp.width, "width");
      const ranks = sum([...mlp.up.map((curve) => hull(curve, apart)), hull(mlp.down, lone)]);
      const mayNarrow = this.formats.includes("width") && unit.canNarrow(mlp);
      return either(mayNarrow ? [ranks, hull(mlp.width, "width")] : [ranks]);
    };
    const options = [];
    if (!unit.isWhole) options.push(sum([...unit.alone.map((curve) => hull(curve, apart)), ...unit.mlps.map(hullOfMlp)]));
    if (unit.isWhole || together !== "dense") {
      options.push(sum([hull(unit.group.shared, together), ...unit.mlps.map(({ down }) => hull(down, lone))]));
    }
    return either(options);
  }

  hullOfCurve(unit, curve, storage) {
    const block = () => unit.block(curve, storage, alignedStep(curve, this.rankStep, this.constants));
    if (unit.isLocked(curve)) return hullOfBlock(block(), this.mostBridged);
    const key = `${storage} ${curve.members.join("+")}`;
    if (!this.open.has(key)) this.open.set(key, hullOfBlock(block(), this.mostBridged));
    return this.open.get(key);
  }

  allocate(budget) {
    const vertices = this.hulls.map(() => 0);
    const floor = this.hulls.reduce((sum, hull) => sum + hull.costs[0], 0);
    requireFeasible(floor, budget, this.nLocked);
    const left = this.takePrefix(budget, vertices);
    this.spend(left, vertices);
    return this.at(vertices);
  }

  /** Return the shortest prefix of all edges, by slope, whose predicted perplexity over dense is at most `ratio`. */
  allocateToRatio(predictRatio, ratio) {
    const misses = (nats) => !(predictRatio(nats) <= ratio);
    const natsAt = (slope) => this.hulls.reduce((sum, hull) => sum + hull.nats[countAtMost(hull.slopes, slope)], 0);
    if (misses(natsAt(0))) throw unreachable();
    if (!misses(natsAt(-Infinity))) return this.at(this.hulls.map(() => 0));
    const [low, high] = this.bisect((slope) => misses(natsAt(slope)));
    const vertices = this.hulls.map((hull) => countAtMost(hull.slopes, low));
    let nats = natsAt(low);
    for (const [unit, hull] of this.edgesUpTo(high, vertices)) {
      if (!misses(nats)) break;
      nats += hull.nats[vertices[unit] + 1] - hull.nats[vertices[unit]];
      vertices[unit] += 1;
    }
    return this.at(vertices);
  }

  at(vertices) {
    return conclude(this.groups, this.hulls.flatMap((hull, unit) => hull.decisions(vertices[unit])));
  }

  /** Return neighbouring doubles such that `isBefore` holds at the first slope and no longer at the second. */
  bisect(isBefore) {
    const steepest = Math.min(0, ...this.hulls.map((hull) => (hull.slopes.length ? hull.slopes[0] : 0)));
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

  /** Walk the edges of slopes up to `high` from `vertices` on: by unit, then by place. */
  *edgesUpTo(high, vertices) {
    for (let unit = 0; unit < this.hulls.length; unit += 1) {
      const hull = this.hulls[unit];
      while (vertices[unit] < hull.slopes.length && hull.slopes[vertices[unit]] <= high) yield [unit, hull];
    }
  }

  /** Move `vertices` along the longest prefix of all edges, by slope, that fits; return what is left. */
  takePrefix(budget, vertices) {
    const costAt = (slope) => this.hulls.reduce((sum, hull) => sum + hull.costs[countAtMost(hull.slopes, slope)], 0);
    const [low, high] = this.bisect((slope) => costAt(slope) <= budget);
    let left = budget;
    this.hulls.forEach((hull, unit) => {
      vertices[unit] = countAtMost(hull.slopes, low);
      left -= hull.costs[vertices[unit]];
    });
    for (const [unit, { costs }] of this.edgesUpTo(high, vertices)) {
      const extra = costs[vertices[unit] + 1] - costs[vertices[unit]];
      if (extra > left) break;
      left -= extra;
      vertices[unit] += 1;
    }
    return left;
  }

  /** Walk the remaining edges in order and move along each that starts at its unit's vertex and fits. */
  spend(params, vertices) {
    let left = params;
    const slope = (unit) => this.hulls[unit].slopes[vertices[unit]];
    const ahead = vertices.map((_, unit) => unit).filter((unit) => vertices[unit] < this.hulls[unit].slopes.length);
    ahead.sort((a, b) => slope(a) - slope(b) || a - b);
    while (ahead.length) {
      const unit = ahead.shift();
      const { costs, slopes } = this.hulls[unit];
      const extra = costs[vertices[unit] + 1] - costs[vertices[unit]];
      if (extra > left) continue;
      left -= extra;
      vertices[unit] += 1;
      if (vertices[unit] >= slopes.length) continue;
      let place = 0;
      while (place < ahead.length && (slope(ahead[place]) < slope(unit) || (slope(ahead[place]) === slope(unit) && ahead[place] < unit))) place += 1;
      ahead.splice(place, 0, unit);
    }
  }
}

function cheapestOf(formats) {
  const factored = formats.filter((storage) => storage !== "dense" && storage !== "width");
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
