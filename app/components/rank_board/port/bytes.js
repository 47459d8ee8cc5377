import { skips } from "./formats.js";

// engine.precision

/** Return the bytes of a matrix: packed numbers row by row, and the scales where it is rounded. */
function matrixBytes(rows, columns, { bits, group_size: size, scale_bytes: scale }) {
  return rows * (Math.ceil((columns * bits) / 8) + (size === null ? 1 : Math.ceil(columns / size)) * scale);
}

/** Return [rows, columns] of every matrix that a decided block consists of. */
function shapesOf({ members, format, rank }, shapeOf) {
  const shapes = members.map(shapeOf);
  if (rank === null) return shapes.map(({ inFeatures, outFeatures }) => [outFeatures, inFeatures]);
  if (format === "width") {
    const [ups, down] = [shapes.slice(0, -1), shapes.at(-1)];
    const narrow = ups.map(({ inFeatures, outFeatures }) => [(outFeatures / down.inFeatures) * rank, inFeatures]);
    return [...narrow, [down.outFeatures, rank]];
  }
  const width = shapes[0].inFeatures;
  return [[rank, skips(format) ? width - rank : width], ...shapes.map(({ outFeatures }) => [outFeatures, rank])];
}

/** Return the bytes of the whole model with a map, as a number type stores it: scales and column orders included.
 *  A block with bits of its own has those. */
export function modelBytes({ blocks }, type, { projections, others, indexBytes, typeOfBits }) {
  const shapeOf = (name) => projections.get(name);
  const decided = new Set(blocks.flatMap(({ members }) => members));
  const dense = [...projections.keys()].filter((name) => !decided.has(name));
  let bytes = others * type.other_bytes;
  for (const block of [...blocks, { members: dense, format: "dense", rank: null }]) {
    const own = block.bits ? typeOfBits(block.bits) : type;
    for (const [rows, columns] of shapesOf(block, shapeOf)) bytes += matrixBytes(rows, columns, own);
    if (skips(block.format)) bytes += shapeOf(block.members[0]).inFeatures * indexBytes;
  }
  return bytes;
}

/** Return about how many bytes parameters take that are in no map yet; a row's one scale hardly counts. */
export function aboutBytes(params, { bits, group_size: size, scale_bytes: scale }) {
  return params * (bits / 8 + (size === null ? 0 : scale / size));
}
