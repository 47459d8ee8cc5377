// engine.allocation._hull

export function lowerHull(costs, nats, mostBridged) {
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
    if (reflex.length > mostBridged) {
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

export function traceBlock(block, mostBridged) {
  const ranks = [];
  for (let k = 0; k < block.nRanks; k += 1) ranks.push(block.first + k * block.step);
  const nats = ranks.map((rank) => block.curve.natsAt(rank));
  const costs = ranks.map((rank) => block.params(rank));
  if (block.mayBeDense) {
    ranks.push(null);
    nats.push(0);
    costs.push(block.params(null));
  }
  const kept = lowerHull(costs, nats, mostBridged);
  const pick = (values) => Float64Array.from(kept, (i) => values[i]);
  const hull = { block, ranks: kept.map((i) => ranks[i]), costs: pick(costs), nats: pick(nats) };
  hull.slopes = slopesOf(hull.costs, hull.nats);
  return hull;
}

/** Return the hull of a group: `hulls` of its members, `together` of the shared block or null. */
export function traceGroup(hulls, together, mostBridged) {
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
  const kept = lowerHull(costs, nats, mostBridged);
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
