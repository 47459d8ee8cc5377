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

function hullOf(costs, nats, kept, decisionsAt) {
  const pick = (values) => Float64Array.from(kept, (i) => values[i]);
  const known = [];
  const hull = { costs: pick(costs), nats: pick(nats), decisions: (vertex) => (known[vertex] ??= decisionsAt(kept[vertex])) };
  hull.slopes = slopesOf(hull.costs, hull.nats);
  return hull;
}

/** Return the hull of one block's choices: its ranks, then dense. */
export function hullOfBlock(block, mostBridged) {
  const ranks = [];
  for (let k = 0; k < block.nRanks; k += 1) ranks.push(block.first + k * block.step);
  const nats = ranks.map((rank) => block.curve.natsAt(rank));
  const costs = ranks.map((rank) => block.params(rank));
  if (block.mayBeDense) {
    ranks.push(null);
    nats.push(0);
    costs.push(block.params(null));
  }
  return hullOf(costs, nats, lowerHull(costs, nats, mostBridged), (i) => [[block, ranks[i]]]);
}

/** Return the hull of all parts together: nats are added in the order of the parts. */
export function hullOfSum(parts, mostBridged) {
  if (parts.length === 1) return parts[0];
  const positions = sumPositions(parts);
  const costs = [];
  const nats = [];
  for (const at of positions) {
    let cost = 0;
    let sum = 0;
    parts.forEach((part, place) => {
      cost += part.costs[at[place]];
      sum += part.nats[at[place]];
    });
    costs.push(cost);
    nats.push(sum);
  }
  const decisionsAt = (i) => parts.flatMap((part, place) => part.decisions(positions[i][place]));
  return hullOf(costs, nats, lowerHull(costs, nats, mostBridged), decisionsAt);
}

/** Return the hull of whichever option is better, of equal points that of the first. */
export function hullOfEither(options, mostBridged) {
  if (options.length === 1) return options[0];
  const costs = options.flatMap((option) => [...option.costs]);
  const nats = options.flatMap((option) => [...option.nats]);
  const choices = options.flatMap((option) => Array.from(option.costs, (_, vertex) => [option, vertex]));
  return hullOf(costs, nats, lowerHull(costs, nats, mostBridged), (i) => choices[i][0].decisions(choices[i][1]));
}

/** Merge the parts' edges by slope, then part, and return each part's vertex after every edge. */
function sumPositions(parts) {
  const at = parts.map(() => 0);
  const positions = [at.slice()];
  for (;;) {
    let next = -1;
    parts.forEach((part, place) => {
      if (at[place] >= part.slopes.length) return;
      if (next < 0 || part.slopes[at[place]] < parts[next].slopes[at[next]]) next = place;
    });
    if (next < 0) return positions;
    at[next] += 1;
    positions.push(at.slice());
  }
}
