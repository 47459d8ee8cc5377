import { everyBlock, sizeOf } from "./bytes.js";
import { skips } from "./formats.js";

// engine.devices.roofline

/** Return the seconds in which each of `batch` sequences, `context` tokens long, is predicted to get a token. */
export function stepSeconds(plan, type, device, batch, context, model) {
  const { layers, head, cache, other_kernels: otherKernels } = model.token;
  const seconds = (bytes, products, kernels) => Math.max(bytes / device.bytes_per_s, products / device.multiply_adds_per_s) + kernels * device.kernel_s;
  let total = layers * otherKernels * device.kernel_s;
  total += seconds(head * type.other_bytes, head * batch, 1) + (cache * context * batch) / device.bytes_per_s;
  for (const block of everyBlock(plan, model.projections)) {
    const { bytes, params } = sizeOf(block, type, model);
    // Of experts no more are read than the tokens are given to.
    const { active = 1 } = model.projections.get(block.members[0]);
    total += seconds(bytes * Math.min(active * batch, 1), params * batch * active, kernelsOf(block));
  }
  return total;
}

/** Return how many operations a block is: a shared inner factor is one, and skip gathers columns and adds. */
function kernelsOf({ members, format }) {
  if (format === "dense" || format === "width") return members.length;
  return members.length + (skips(format) ? 3 : 1);
}
