import { Block, NoAllocation, UNSHARED, alignedStep, madeOnce, modelOrder } from "./blocks.js";
import { isShared } from "./formats.js";

// engine.allocation._units

/** An input group, with the down projections of the MLPs whose gate and up are in it. */
export class Unit {
  constructor(group, mlps, locks) {
    Object.assign(this, { group, mlps, locks });
    const inside = new Set(mlps.flatMap(({ up }) => up.map(({ members }) => members[0])));
    this.alone = group.separate.filter(({ members }) => !inside.has(members[0]));
  }

  isLocked({ members }) {
    return members.some((name) => this.locks.has(name));
  }

  get isWhole() {
    const lock = this.locks.get(this.group.separate[0].members[0]);
    return lock !== undefined && isShared(lock.format) && lock.members.length > 1;
  }

  get canShare() {
    const { shared, separate } = this.group;
    return shared !== null && separate.length > 1 && !this.isLocked(shared);
  }

  isNarrow(mlp) {
    return this.locks.get(mlp.down.members[0])?.format === "width";
  }

  canNarrow(mlp) {
    return !this.isLocked(mlp.width);
  }

  block(curve, storage, rankStep) {
    const lock = this.locks.get(curve.members[0]);
    return lock ? Block.locked(curve, lock) : Block.open(curve, storage, rankStep);
  }
}

/** Return every unit with nothing held, and the names that it decides. */
const openUnits = madeOnce((groups) => {
  const mlpFrom = mlpsByFirst(groups);
  const ranked = groups.filter(({ width }) => !width);
  return ranked.map((group) => {
    const names = group.separate.map(({ members }) => members[0]);
    const mlps = names.filter((name) => mlpFrom.has(name)).map((name) => mlpFrom.get(name));
    const decided = [...names, ...mlps.map(({ down }) => down.members[0])];
    return { decided, unit: new Unit(group, mlps, new Map()) };
  });
});

/** Return the units around locks; one in which nothing is held is the same every time. */
export function unitsOf(groups, locks) {
  const lockOf = locksByName(locks, mlpsByFirst(groups));
  return openUnits(groups).map(({ decided, unit: open }) => {
    const held = decided.filter((name) => lockOf.has(name));
    if (!held.length) return open;
    const unit = new Unit(open.group, open.mlps, new Map(held.map((name) => [name, lockOf.get(name)])));
    if (unit.isWhole && unit.group.shared === null) throw new NoAllocation("A held group was not analysed as one block; hold its projections one by one.");
    return unit;
  });
}

const lastBlocks = madeOnce(() => new Map());

export function blocksInOneFormat(groups, storage, locks, rankStep, constants) {
  const [last, asked] = [lastBlocks(groups), JSON.stringify([locks, rankStep])];
  if (last.get(storage)?.asked !== asked) last.set(storage, { asked, blocks: makeBlocks(groups, storage, locks, rankStep, constants) });
  return last.get(storage).blocks;
}

function makeBlocks(groups, storage, locks, rankStep, constants) {
  if (storage === "width" && groups.length && !groups.some(({ width }) => width)) throw new NoAllocation("This analysis has no widths; analyse the model again.");
  const places = modelOrder(groups);
  const make = (unit) => (unit.locks.size ? blocksOf : openBlocksOf)(unit, storage, rankStep, constants);
  const blocks = unitsOf(groups, locks).flatMap(make);
  return blocks.sort((one, other) => places.get(one.curve.members[0]) - places.get(other.curve.members[0]));
}

const openBlocks = madeOnce(() => new Map());

/** Return the blocks of a unit in which nothing is held, the same every time. */
function openBlocksOf(unit, storage, rankStep, constants) {
  const [known, asked] = [openBlocks(unit), `${storage} ${rankStep}`];
  if (!known.has(asked)) known.set(asked, blocksOf(unit, storage, rankStep, constants));
  return known.get(asked);
}

function blocksOf(unit, storage, rankStep, constants) {
  const blocks = (curves, stored) => curves.map((curve) => unit.block(curve, stored, rankStep));
  const apart = storage === "width" ? "dense" : UNSHARED[storage] ?? storage;
  const { shared } = unit.group;
  if (unit.isWhole || (isShared(storage) && unit.canShare)) return [...blocks([shared], storage), ...blocks(unit.mlps.map(({ down }) => down), apart)];
  const isNarrow = (mlp) => unit.isNarrow(mlp) || (storage === "width" && unit.canNarrow(mlp));
  const ranked = unit.mlps.filter((mlp) => !isNarrow(mlp)).flatMap(({ up, down }) => [...up, down]);
  const widths = unit.mlps.filter(isNarrow).map(({ width }) => unit.block(width, "width", alignedStep(width, rankStep, constants)));
  return [...widths, ...blocks([...unit.alone, ...ranked], apart)];
}

/** Return the MLPs that can be narrowed by the name of their first projection. */
export const mlpsByFirst = madeOnce((groups) => {
  const curves = new Map(groups.flatMap(({ separate }) => separate.map((curve) => [curve.members[0], curve])));
  const mlps = new Map();
  for (const { width } of groups) {
    if (!width) continue;
    const parts = width.members.map((name) => curves.get(name));
    mlps.set(width.members[0], { up: parts.slice(0, -1), down: parts.at(-1), width });
  }
  return mlps;
});

// engine.allocation._membership, as far as what is held on the board may not fit.
function locksByName(locks, mlpFrom) {
  const lockOf = new Map();
  for (const lock of locks) {
    if (lock.format === "width" && !mlpFrom.has(lock.members[0])) throw new NoAllocation("A width is held, but this metric has none; release it.");
    for (const name of lock.members) {
      if (lockOf.has(name)) throw new NoAllocation("A projection is held twice, by itself and with its MLP; release one of them.");
      lockOf.set(name, lock);
    }
  }
  return lockOf;
}
