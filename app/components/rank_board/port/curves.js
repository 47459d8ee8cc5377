// Reads what app.components.rank_board.curves.encode_curves wrote.

export class Curve {
  constructor(members, inFeatures, outFeatures, matrices, importance, reach, nats, step) {
    Object.assign(this, { members, inFeatures, outFeatures, matrices, importance, reach, nats, step });
  }

  /** Nats at a rank; between two ranks that were sent, on the line between them. */
  natsAt(rank) {
    const place = rank / this.step;
    const below = Math.floor(place);
    if (below === place) return this.nats[below];
    const above = below + 1 < this.nats.length ? this.nats[below + 1] : this.nats[below];
    return this.nats[below] + (above - this.nats[below]) * (place - below);
  }
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function unshuffle(shuffled) {
  const width = Float64Array.BYTES_PER_ELEMENT;
  const n = shuffled.length / width;
  const bytes = new Uint8Array(shuffled.length);
  for (let b = 0; b < width; b += 1) for (let i = 0; i < n; i += 1) bytes[i * width + b] = shuffled[b * n + i];
  return new Float64Array(bytes.buffer);
}

function readHeader(bytes) {
  const start = 4 + new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0, true);
  return { start, header: JSON.parse(new TextDecoder().decode(bytes.subarray(4, start))) };
}

export function nameOf(bytes) {
  return readHeader(bytes).header.name;
}

export async function decodeCurves(bytes) {
  const { start, header } = readHeader(bytes);
  const step = header.rank_step;
  const metrics = {};
  let offset = start;
  for (const { name, n_bytes: nBytes, reaches } of header.metrics) {
    const values = unshuffle(await inflate(bytes.subarray(offset, offset + nBytes)));
    offset += nBytes;
    let index = 0;
    let first = 0;
    const next = (members, inFeatures, outFeatures, importance, matrices = 1) => {
      const reach = reaches[index++];
      if (reach === null) return null;
      const nats = values.subarray(first, (first += Math.floor(reach / step) + 1));
      return new Curve(members, inFeatures, outFeatures, matrices, importance, reach, nats, step);
    };
    metrics[name] = header.groups.map(({ in_features: inFeatures, matrices, members, shared, width }) => ({
      separate: members.map(([member, outFeatures, importance]) => next([member], inFeatures, outFeatures, importance, matrices)),
      shared: shared && next(members.map(([member]) => member), inFeatures, shared[0], shared[1]),
      width: width && next(width[0], inFeatures, width[1], 0),
    }));
  }
  return { name: header.name, rankStep: step, metrics, predicted: header.predicted };
}
