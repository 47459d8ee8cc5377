import { skips } from "./formats.js";

// engine.precision

/** Return the bytes of a matrix: packed numbers row by row, and the scales where it is rounded. */
function matrixBytes(rows, columns, { bits, group_size: size, scale_bytes: scale }) {
  return rows * (Math.ceil((columns * bits) / 8) + (size === null ? 1 : Math.ceil(columns / size)) * scale);
}

/** Return [rows, columns] of every matrix that a decided block consists of, those of all experts as one. */
function shapesOf({ members, format, rank }, shapeOf) {
  const shapes = members.map(shapeOf);
  if (rank === null) return shapes.map(({ inFeatures, outFeatures, matrices }) => [matrices * outFeatures, inFeatures]);
  if (format === "width") {
    const [ups, down] = [shapes.slice(0, -1), shapes.at(-1)];
    const narrow = ups.map(({ inFeatures, outFeatures }) => [(outFeatures / down.inFeatures) * rank, inFeatures]);
    return [...narrow, [down.outFeatures, rank]];
  }
  const { inFeatures: width, matrices } = shapes[0];
  const lefts = shapes.map(({ outFeatures }) => [matrices * outFeatures, rank]);
  return [[matrices * rank, skips(format) ? width - rank : width], ...lefts];
}

/** Yield every block of a model, those that a map does not name dense. */
export function* everyBlock({ blocks }, projections) {
  yield* blocks;
  if (blocks.reduce((n, { members }) => n + members.length, 0) === projections.size) return;
  const decided = new Set(blocks.flatMap(({ members }) => members));
  for (const name of projections.keys()) if (!decided.has(name)) yield { members: [name], format: "dense", rank: null };
}

/** Return the bytes and the parameters of a block, as a number type stores it: scales and column order included.
 *  A block with bits of its own has those. */
export function sizeOf(block, type, { projections, indexBytes, typeOfBits }) {
  const shapeOf = (name) => projections.get(name);
  const own = block.bits ? typeOfBits(block.bits) : type;
  let bytes = skips(block.format) ? shapeOf(block.members[0]).inFeatures * indexBytes : 0;
  let params = 0;
  for (const [rows, columns] of shapesOf(block, shapeOf)) {
    bytes += matrixBytes(rows, columns, own);
    params += rows * columns;
  }
  return { bytes, params };
}

/** Return the bytes of the whole model with a map. */
export function modelBytes(plan, type, model) {
  let bytes = model.others * type.other_bytes;
  for (const block of everyBlock(plan, model.projections)) bytes += sizeOf(block, type, model).bytes;
  return bytes;
}

/** Return about how many bytes parameters take that are in no map yet; a row's one scale hardly counts. */
export function aboutBytes(params, { bits, group_size: size, scale_bytes: scale }) {
  return params * (bits / 8 + (size === null ? 0 : scale / size));
}
