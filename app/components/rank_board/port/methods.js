import { NoAllocation } from "./blocks.js";
import { allocateByImportance } from "./flrc.js";
import { Frontier } from "./frontier.js";
import { allocateToRatio } from "./targets.js";
import { allocateUniformly } from "./uniform.js";

// engine.allocation._evaluated and engine.methods.presets

export function bestSearched(evaluated, predicted, groups, budget, near, locks = []) {
  if (locks.length) throw new NoAllocation("Searched maps cannot be changed; release the held ranks or turn off rebalancing.");
  const names = groups.flatMap(({ separate }) => separate.map(({ members }) => members));
  const fitting = evaluated.filter((one) => one.params <= budget);
  const close = fitting.filter((one) => one.params >= budget - near);
  const place = close.length || !predicted ? -1 : lastAtMost(predicted.params, budget);
  if (place >= 0) return foreseen(predicted, place, names);
  if (!fitting.length) throw new NoAllocation("No searched map is as small as that; raise the budget.");
  const newest = (close.length ? close : fitting).reduce((a, b) => (b.created > a.created ? b : a)).measure;
  const better = (a, b) => b.objective < a.objective || (b.objective === a.objective && b.params < a.params);
  const comparable = fitting.filter((one) => one.measure === newest);
  const best = comparable.reduce((a, b) => (better(a, b) ? b : a));
  const blocks = best.ranks.map((rank, i) => ({ members: names[i], format: rank === null ? "dense" : best.format, rank }));
  return { blocks, params: best.params, nats: best.nats, bestOf: comparable.length, search: "measured" };
}

/** The last place of an ascending list whose value is at most a number, or -1. */
function lastAtMost(values, most) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= most) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function foreseen({ columns, ranks, params, nats }, place, names) {
  const blocks = columns.map((column, i) => {
    const rank = ranks[place][column] || null;
    return { members: names[i], format: rank === null ? "dense" : "low-rank", rank };
  });
  return { blocks, params: params[place], nats: nats[place], search: "predicted" };
}

const oneFormat = (allocate) => (methods, method, locks) => ({
  allocate: (budget) => allocate(methods.groupsOf(method), budget, method.formats[0], locks, methods.curves.rankStep, methods.constants),
});

// engine.methods.allocate.rule_of
const RULES = {
  uniform: oneFormat(allocateUniformly),
  flrc: oneFormat(allocateByImportance),
  "best-searched": (methods, method, locks) => {
    const { evaluated, curves, near } = methods;
    const groups = methods.groupsOf(method);
    return { allocate: (budget) => bestSearched(evaluated, curves.predicted, groups, budget, near, locks) };
  },
  "water-filling": (methods, method, locks) => methods.frontier(method, locks),
};

/** All methods of one analysis; `allocate` throws NoAllocation where a method has no map. */
export class Methods {
  constructor(curves) {
    Object.assign(this, { curves, frontiers: new Map() });
  }

  /** Take over the constants that Python calculates with, and the maps that searches have measured. */
  learn({ constants, evaluated, compressible }) {
    Object.assign(this, { constants, evaluated, near: constants.measured_reach * compressible });
  }

  /** Return the map for a budget in parameters; `locks` are held. */
  allocate(method, budget, locks) {
    return this.rule(method, locks).allocate(budget);
  }

  /** Return the smallest map whose predicted perplexity over dense is at most `ratio`. */
  allocateToRatio(method, predictRatio, ratio, compressible, locks) {
    const rule = this.rule(method, locks);
    if (rule.allocateToRatio) return rule.allocateToRatio(predictRatio, ratio);
    return allocateToRatio((budget) => rule.allocate(budget), predictRatio, ratio, compressible);
  }

  /** Return what answers budgets: `allocate`, and `allocateToRatio` where that is not a search over budgets. */
  rule(method, locks) {
    return RULES[method.allocator](this, method, locks);
  }

  frontier(method, locks) {
    const groups = this.groupsOf(method);
    const key = `${method.metric} ${method.formats}`;
    const { curves, constants } = this;
    if (!this.frontiers.has(key)) this.frontiers.set(key, new Frontier(groups, method.formats, curves.rankStep, constants));
    const frontier = this.frontiers.get(key);
    frontier.setLocks(locks);
    return frontier;
  }

  groupsOf({ metric }) {
    const groups = this.curves.metrics[metric];
    if (!groups) throw new NoAllocation(`The analysis has no factors of the ${metric} metric.`);
    return groups;
  }
}
