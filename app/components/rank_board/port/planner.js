import { NoAllocation } from "./blocks.js";
import { editMap, locksFor } from "./by_hand.js";
import { modelBytes } from "./bytes.js";
import { Methods } from "./methods.js";
import { predictRatio } from "./prediction.js";
import { stepSeconds } from "./speed.js";
import { budgetWithinBytes } from "./targets.js";
import { mlpsByFirst } from "./units.js";

/** Makes every method's map for a state: at its budget or perplexity, around held ranks, or edited by hand. */
export class Planner {
  constructor(curves, projections) {
    Object.assign(this, { curves, projections });
    this.methods = new Methods(curves);
    this.shapeOf = (name) => projections.get(name);
    this.curvesByBlock = {};
    [this.mlps, this.mlpOf] = [new Map(), new Map()];
    for (const [metric, groups] of Object.entries(curves.metrics)) {
      const all = groups.flatMap(({ separate, shared, width }) => [...separate, shared, width]).filter(Boolean);
      this.curvesByBlock[metric] = new Map(all.map((curve) => [curve.members.join("+"), curve]));
      for (const { width } of mlpsByFirst(groups).values()) {
        const mlp = { name: width.members.join("+"), members: width.members, neurons: width.inFeatures };
        this.mlps.set(mlp.name, mlp);
        for (const name of mlp.members) this.mlpOf.set(name, mlp);
      }
    }
  }

  /** Take over what Python says apart from the state: methods, searched maps and what predictions rest on. */
  learn(data) {
    this.data = data;
    this.methods.learn(data);
    this.base = null;
  }

  curveOf(metric, members) {
    return this.curvesByBlock[metric].get(members.join("+"));
  }

  anyCurveOf(members) {
    return Object.keys(this.curvesByBlock).map((metric) => this.curveOf(metric, members)).find(Boolean);
  }

  /** Return method -> map, and method -> the reason why it has none. */
  plan(state) {
    const { base, held } = state;
    // No budget changes an opened map, but what is held does.
    const make = (method) => {
      if (this.isPythons(method, state)) return this.answered(method);
      return method.fixed ? this.edit(method.fixed, method, held) : this.allocate(method, state);
    };
    if (base === null) return this.each(make);
    // Without rebalancing the maps stay as they were made, but for what is held since.
    if (this.base !== base) {
      this.base = base;
      this.basePlans = this.each((method) => this.allocate(method, base));
    }
    const { plans, reasons } = this.basePlans;
    return this.each((method) => {
      if (this.isPythons(method, state)) return this.answered(method);
      if (!plans.has(method.name)) throw new NoAllocation(reasons.get(method.name));
      return this.edit(plans.get(method.name), method, held);
    });
  }

  /** Return whether only Python makes a method's map: for a time, or with bits that are chosen block by block. */
  isPythons({ name, fixed }, { dtype, time, base }) {
    const { chosen_bits: chosen } = this.data.constants;
    return (Boolean((base ?? { time }).time) && !fixed) || (dtype === chosen.dtype && name === chosen.method);
  }

  /** Return Python's last answer. */
  answered({ name }) {
    const answer = this.data.answered?.[name];
    if (!answer?.plan) throw new NoAllocation(answer?.reason ?? "The map is being chosen.");
    return answer.plan;
  }

  edit(plan, method, held) {
    return editMap(plan, method, held, this, (members) => this.curveOf(method.metric, members));
  }

  each(make) {
    const [plans, reasons] = [new Map(), new Map()];
    for (const method of this.data.methods) {
      try {
        plans.set(method.name, make(method));
      } catch (error) {
        if (!(error instanceof NoAllocation)) throw error;
        reasons.set(method.name, error.message);
      }
    }
    return { plans, reasons };
  }

  allocate(method, { keep, target, held }) {
    if (method.fixed) return method.fixed;
    const { compressible, predictor, dense_perplexity: dense } = this.data;
    const locks = locksFor(method, held, this);
    if (target === null) return this.methods.allocate(method, Math.floor(keep * compressible), locks);
    if (target < dense) throw new NoAllocation(`The dense model itself has a perplexity of ${dense.toFixed(2)}; set a higher target.`);
    const ratioOf = (nats) => predictRatio(predictor, method.metric, nats);
    return this.methods.allocateToRatio(method, ratioOf, target / dense, compressible, locks);
  }

  /** Return the bytes of the whole model with a map, stored as a number type; a map without blocks is dense. */
  bytesOf(plan, dtype) {
    return modelBytes(plan, this.data.constants.number_types[dtype], this.model());
  }

  /** Return the seconds of a token on a device; see `stepSeconds`. */
  secondsOf(plan, dtype, device, batch, context) {
    return stepSeconds(plan, this.data.constants.number_types[dtype], device, batch, context, this.model());
  }

  model() {
    const { compressible, total, constants, token } = this.data;
    const { number_types: types, stored_as: storedAs, index_bytes: indexBytes } = constants;
    const typeOfBits = (bits) => types[storedAs[bits]];
    return { projections: this.projections, others: total - compressible, indexBytes, typeOfBits, token };
  }

  /** Return the largest budget in parameters at which no method's map makes the whole model larger than `bytes`. */
  budgetWithin(bytes, held, dtype) {
    const { compressible, methods } = this.data;
    let budget = compressible;
    // A smaller budget may have a larger column order, so that every method is asked until all agree.
    for (let before = null; before !== budget; ) {
      before = budget;
      for (const method of methods) {
        if (method.fixed) continue;
        const allocate = (params) => this.methods.allocate(method, params, locksFor(method, held, this));
        budget = budgetWithinBytes(allocate, (plan) => this.bytesOf(plan, dtype), bytes, budget);
      }
    }
    return budget;
  }

  /** Return projection -> its decision in a map, with the block's curve: where the metric has none, another's. */
  decisions(plan, metric) {
    const decided = new Map();
    for (const { members, format, rank, bits, rounding } of plan.blocks) {
      const curve = this.curveOf(metric, members) ?? this.anyCurveOf(members);
      const full = format === "width" ? curve.inFeatures : Math.min(curve.inFeatures, curve.outFeatures);
      for (const name of members) decided.set(name, { format, rank, full, members, curve, bits, rounding });
    }
    return decided;
  }
}
