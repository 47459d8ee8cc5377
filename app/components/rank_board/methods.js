import { NoAllocation } from "./blocks.js";
import { allocateByImportance } from "./flrc.js";
import { maxUsefulRank, skips } from "./formats.js";
import { Frontier } from "./frontier.js";
import { allocateUniformly } from "./uniform.js";

// engine.allocation._evaluated, engine.presets and app.plans

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
