import { measurementOf } from "../../rank_board/port/measured.js";
import { predictIncrease } from "../../rank_board/port/prediction.js";

/** What a map makes of the model: its size, and its perplexity over the dense model's, predicted and measured. */
export function outcomeOf(plan, { title, metric }, data, placeOf) {
  const { increase, low, high } = predictIncrease(data.predictor, metric, plan.nats);
  const measured = measurementOf(plan, metric, data.measured, placeOf) ?? null;
  return {
    title,
    plan,
    measured,
    params: plan.params,
    kept: plan.params / data.compressible,
    bytes: (data.total - data.compressible + plan.params) * data.bytes_per_param + indexBytes(plan, data, placeOf),
    // Beside a measurement stands the prediction that was made without it.
    predicted: measured?.expected ?? [increase, low, high].map(Math.exp),
  };
}

function indexBytes({ blocks }, { constants, in_features: inFeatures }, placeOf) {
  const indexed = blocks.filter(({ format, rank }) => rank !== null && format.startsWith("skip"));
  return indexed.reduce((sum, { members }) => sum + inFeatures[placeOf(members[0])] * constants.index_bytes, 0);
}

/** Return the method that is predicted to harm the model least; undefined where none has a map. */
export function leastHarm(plans, { methods, predictor }) {
  const harm = ({ name, metric }) => predictIncrease(predictor, metric, plans.get(name).nats).increase;
  const possible = methods.filter(({ name }) => plans.has(name));
  return possible.length ? possible.reduce((a, b) => (harm(b) < harm(a) ? b : a)) : undefined;
}
