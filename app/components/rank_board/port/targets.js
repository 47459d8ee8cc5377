import { NoAllocation } from "./blocks.js";

// engine.methods.targets

export const unreachable = () =>
  new NoAllocation("This method cannot reach that perplexity even at full size; raise the target or release held ranks.");

/** Return the smallest map whose predicted perplexity over dense is at most `ratio`. */
export function allocateToRatio(allocate, predictRatio, ratio, compressible) {
  if (!(predictRatio(allocate(compressible).nats) <= ratio)) throw unreachable();
  const misses = (params) => {
    try {
      return !(predictRatio(allocate(params).nats) <= ratio);
    } catch (error) {
      if (error instanceof NoAllocation) return true;
      throw error;
    }
  };
  return allocate(misses(0) ? lastWhere(misses, 0, compressible) + 1 : 0);
}

/** Return the largest budget up to `highest` at which a rule has no map larger than `limit` bytes. */
export function budgetWithinBytes(allocate, bytesOf, limit, highest) {
  const fits = (params) => {
    try {
      return bytesOf(allocate(params)) <= limit;
    } catch (error) {
      if (error instanceof NoAllocation) return true;
      throw error;
    }
  };
  return fits(highest) ? highest : lastWhere(fits, 0, highest);
}

function lastWhere(holds, low, high) {
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return low;
}
