import { blockParams } from "../port/formats.js";
import { short } from "./text.js";

// engine.rank_map.difference

/** Return first projection -> what its block's parameters are split by: output widths. */
function partsOf(decided) {
  const parts = new Map();
  for (const [first, { members, curve, format, rank }] of decided) {
    if (members[0] !== first || format === "width") continue;
    parts.set(first, { members, total: blockParams(curve, format, rank), width: curve.outFeatures });
  }
  return parts;
}

/** Return projection -> its part of its block's parameters; a width leaves every projection its own. */
export function paramsByProjection(decided, shapeOf) {
  const params = new Map();
  for (const [name, { format, rank, full }] of decided) {
    if (format !== "width") continue;
    const { inFeatures, outFeatures } = shapeOf(name);
    params.set(name, ((inFeatures * outFeatures) / full) * rank);
  }
  for (const { members, total, width } of partsOf(decided).values()) {
    let [outs, given] = [0, 0];
    for (const name of members) {
      outs += shapeOf(name).outFeatures;
      // Products of parameter counts and widths may not fit a double.
      const upto = Number((BigInt(total) * BigInt(outs)) / BigInt(width));
      params.set(name, upto - given);
      given = upto;
    }
  }
  return params;
}

export const shareOf = ({ rank, full }) => (rank === null ? 1 : Math.min(rank / full, 1));

/** Return how `now` differs from `before`: how many projections, in ranks, and parameters given and taken. */
export function compare(before, now, shapeOf) {
  const [old, own] = [paramsByProjection(before, shapeOf), paramsByProjection(now, shapeOf)];
  const totals = { changed: 0, more: 0, less: 0, gained: 0, lost: 0 };
  for (const [name, cell] of now) {
    const other = before.get(name);
    if (other.rank !== cell.rank || other.format !== cell.format) totals.changed += 1;
    const step = shareOf(cell) - shareOf(other);
    if (step > 0) totals.more += 1;
    if (step < 0) totals.less += 1;
    const params = own.get(name) - old.get(name);
    totals[params > 0 ? "gained" : "lost"] += Math.abs(params);
  }
  return totals;
}

export function compareInWords(title, { changed, more, less, gained, lost }, nAll) {
  if (!changed) return `The same map as ${title}.`;
  return (
    `Against ${title}: ${changed} of ${nAll} projections differ, ${more} with a higher rank or width (+) and ${less} ` +
    `with a lower one (−, hatched); ${short(gained)} parameters are added to some and ${short(lost)} removed from others.`
  );
}
