import { blockParams, maxUsefulRank } from "./formats.js";

// engine.allocation._blocks. Here and in every allocator the floating-point operations are Python's, in the same order,
// so that every rank map is exactly Python's.

export const UNSHARED = { cat: "low-rank", "skip+cat": "skip" };
const STACKED = { cat: "low-rank", skip: "low-rank", "skip+cat": "low-rank" };

/** Return the larger of a step, a power of two, and that which suits arithmetic units. */
export function alignedStep({ inFeatures, outFeatures }, step, constants) {
  const most = Math.min(Math.floor(Math.min(inFeatures, outFeatures) / constants.fewest_steps), constants.largest_step);
  return Math.max(step, 2 ** Math.floor(Math.log2(Math.max(most, 1))));
}

export class NoAllocation extends Error {}

export class Block {
  constructor(curve, storage, first, last, step, mayBeDense) {
    Object.assign(this, { curve, storage, first, last, step, mayBeDense });
    this.nRanks = first === null || last < first ? 0 : Math.floor((last - first) / step) + 1;
    if (this.nRanks) this.last = first + (this.nRanks - 1) * step;
  }

  static open(curve, given, step) {
    if (given === "dense") return new Block(curve, given, null, null, 1, true);
    const storage = curve.matrices > 1 ? STACKED[given] ?? given : given;
    const top = Math.min(maxUsefulRank(storage, curve.inFeatures, curve.outFeatures), curve.reach);
    return new Block(curve, storage, step, top, step, true);
  }

  static locked(curve, lock) {
    if (lock.rank === null) return new Block(curve, "dense", null, null, 1, true);
    if (lock.rank > curve.reach) throw new NoAllocation("A held rank is larger than was analysed; lower or release it.");
    const alone = curve.matrices > 1 ? STACKED : UNSHARED;
    const storage = curve.members.length === 1 ? alone[lock.format] ?? lock.format : lock.format;
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
    return blockParams(this.curve, this.storage, rank);
  }
}

export function requireFeasible(floor, budget, nLocked) {
  if (floor <= budget) return;
  if (nLocked) throw new NoAllocation("The budget is too small for the held ranks, even with all other ranks at their minimum; release some or raise it.");
  throw new NoAllocation("This method cannot make the model as small as that; raise the budget.");
}

/** Return a function of curves that is asked in every frame of a drag and whose answer never changes. */
export function madeOnce(make) {
  const made = new WeakMap();
  return (groups) => {
    if (!made.has(groups)) made.set(groups, make(groups));
    return made.get(groups);
  };
}

/** Return the place of every projection in the model. */
export const modelOrder = madeOnce((groups) => new Map(groups.flatMap(({ separate }) => separate.map(({ members }) => members[0])).map((name, i) => [name, i])));

/** Add up the decided blocks and bring them into model order. */
export function conclude(groups, decisions) {
  const places = modelOrder(groups);
  const byPlace = new Array(places.size);
  let params = 0;
  let nats = 0;
  const decide = (members, format, rank, inFeatures) => (byPlace[places.get(members[0])] = { members, format, rank, inFeatures });
  for (const [block, rank] of decisions) {
    params += block.params(rank);
    const { members, inFeatures } = block.curve;
    if (rank === null) for (const name of members) decide([name], "dense", rank, inFeatures);
    else {
      nats += block.curve.natsAt(rank);
      decide(members, block.storage, rank, inFeatures);
    }
  }
  return { blocks: byPlace.filter(Boolean), params, nats };
}
