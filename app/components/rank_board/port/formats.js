// engine.formats: what a rank costs. Costs are whole numbers below 2^53; a rank of null is dense. In width a rank is how
// many of an MLP's neurons are kept, inFeatures how many there are and outFeatures the parameters of each.

export const skips = (storage) => storage === "skip" || storage === "skip+cat";
export const isShared = (storage) => storage === "cat" || storage === "skip+cat";

export function rankParams(storage, rank, inFeatures, outFeatures) {
  if (storage === "width") return rank * outFeatures;
  return rank * (inFeatures + outFeatures) - (skips(storage) ? rank * rank : 0);
}

/** Parameters of a block that is dense; experts in one stack have as many matrices of the shape. */
export const denseParams = ({ inFeatures, outFeatures, matrices }) => matrices * inFeatures * outFeatures;

/** Parameters of a block at a rank in a format, or dense. */
export function blockParams(curve, storage, rank) {
  return rank === null ? denseParams(curve) : curve.matrices * rankParams(storage, rank, curve.inFeatures, curve.outFeatures);
}

export function maxUsefulRank(storage, inFeatures, outFeatures) {
  if (storage === "width") return inFeatures - 1;
  if (skips(storage)) return Math.min(inFeatures, outFeatures) - 1;
  return Math.floor((inFeatures * outFeatures - 1) / (inFeatures + outFeatures));
}

function integerRoot(value) {
  let root = Math.floor(Math.sqrt(value));
  while (root * root > value) root -= 1;
  while ((root + 1) * (root + 1) <= value) root += 1;
  return root;
}

export function largestRank(storage, params, inFeatures, outFeatures) {
  if (storage === "width") return Math.floor(params / outFeatures);
  const total = inFeatures + outFeatures;
  if (!skips(storage)) return Math.floor(params / total);
  const discriminant = total * total - 4 * params;
  if (discriminant <= 0) return Math.floor(total / 2);
  return Math.floor((total - integerRoot(discriminant - 1) - 1) / 2);
}
