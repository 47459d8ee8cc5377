// engine.prediction.power_law.PowerLaw: from the nats of a rank map to the increase of the loss, with its interval.

export function predictIncrease(predictor, metric, nats) {
  const law = predictor.laws[metric];
  if (nats <= 0) return { increase: 0, low: 0, high: 0 };
  const logNats = Math.log(nats);
  const u = logNats - predictor.centre;
  const logIncrease = Math.log(law.scale) + law.exponent * logNats;
  const width = predictor.deviations * Math.sqrt(law.v0 + law.v1 * u + law.v2 * u * u);
  const increase = Math.exp(logIncrease);
  const noise = predictor.deviations * predictor.text_noise;
  return {
    increase,
    low: increase - Math.hypot(Math.exp(logIncrease - width) - increase, noise),
    high: increase + Math.hypot(Math.exp(logIncrease + width) - increase, noise),
  };
}

export function predictPerplexity(predictor, metric, nats, densePerplexity) {
  const { increase, low, high } = predictIncrease(predictor, metric, nats);
  return [increase, low, high].map((value) => Math.exp(value) * densePerplexity);
}

export const predictRatio = (predictor, metric, nats) => Math.exp(predictIncrease(predictor, metric, nats).increase);
