import { measurementOf } from "../port/measured.js";
import { predictPerplexity } from "../port/prediction.js";
import { megabytes, percentText, perplexityText, ratioText, short } from "./text.js";

const PARTS = [["b", ""], ["span", "rb-badge"], ["span", "rb-big"], ["small", "rb-range"], ["small", "rb-cost"]];
const SEARCHES = { predicted: "predicted search", measured: "searched" };
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

function intervalText(low, high) {
  return low > 1000 ? `likely ${ratioText(low)}` : `likely ${ratioText(low).replace(" ×", "")} to ${ratioText(high)}`;
}

/** Return [bits, number of blocks] of a map with bits of its own, fewest bits first. */
function bitsOf({ blocks }) {
  const counts = new Map();
  if (blocks.some(({ bits }) => bits < 16)) for (const { bits = 16 } of blocks) counts.set(bits, (counts.get(bits) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => a - b);
}

/** Return which bits a map's blocks have, and empty text where it has none of its own. */
const bitsText = (plan) => bitsOf(plan).map(([bits]) => bits).join(", ").replace(/, (?=[^,]*$)/, " and ");

/** A card per method: what its map costs and does, measured where it was, else predicted. */
export class MethodCards {
  constructor(board) {
    this.board = board;
    this.holder = board.find(".rb-cards");
    this.holder.addEventListener("keydown", (event) => this.pressed(event));
  }

  build() {
    this.cards = new Map();
    this.figures = new Map();
    for (const { name, title } of this.board.data.methods) {
      const card = document.createElement("button");
      card.type = "button";
      card.className = "rb-card";
      card.setAttribute("role", "radio");
      Object.assign(card.dataset, { testid: "method-card", method: name });
      const parts = PARTS.map(([tag, kind]) => Object.assign(document.createElement(tag), { className: kind }));
      card.append(...parts);
      parts[0].textContent = title;
      card.addEventListener("click", () => this.board.change({ method: name }));
      const [, badge, big, range, cost] = parts;
      this.cards.set(name, { card, badge, big, range, cost });
    }
    this.holder.replaceChildren(...[...this.cards.values()].map(({ card }) => card));
  }

  show() {
    for (const method of this.board.data.methods) this.showOne(method);
  }

  showOne(method) {
    const { board } = this;
    const { name, summary } = method;
    const { card, badge, big, range, cost } = this.cards.get(name);
    const isActive = name === board.state.method;
    card.setAttribute("aria-checked", String(isActive));
    // One stop for Tab; the arrow keys choose, as among radio buttons.
    card.tabIndex = isActive ? 0 : -1;
    const plan = board.plans.get(name);
    this.figures.delete(name);
    if (!plan) {
      Object.assign(card.dataset, { keptFraction: "", params: "", predictedPerplexity: "", nats: "", search: "" });
      card.title = [summary, board.reasons.get(name)].filter(Boolean).join("\n");
      Object.assign(badge.dataset, { kind: "" });
      badge.textContent = "";
      big.textContent = "–";
      range.textContent = board.reasons.get(name);
      cost.textContent = "";
      return;
    }
    const figures = this.figuresOf(plan, method);
    this.figures.set(name, figures);
    Object.assign(card.dataset, {
      keptFraction: String(figures.kept),
      params: String(plan.params),
      predictedPerplexity: String(figures.perplexities[0]),
      nats: String(plan.nats),
      search: plan.search ?? "",
    });
    const kind = figures.measured ? "measured" : "predicted";
    Object.assign(badge.dataset, { kind });
    badge.textContent = figures.measured ? kind : (SEARCHES[plan.search] ?? kind);
    if (board.awaitsPython && board.planner.isPythons(method, board.state)) badge.textContent = "when you let go";
    const bits = bitsText(plan);
    const size = `${megabytes(figures.bytes)} · ${bits ? `${bits} bits` : `${percentText(figures.kept)} kept`}`;
    const quality = `${ratioText(figures.measured ?? figures.ratio)} dense`;
    const isBySize = board.state.target === null;
    big.textContent = isBySize ? quality : megabytes(figures.bytes);
    range.textContent = figures.measured ? `predicted ${ratioText(figures.ratio)} (${figures.interval})` : figures.interval;
    cost.textContent = isBySize ? size : `${quality} · ${percentText(figures.kept)} kept`;
    card.title = this.detailsOf(plan, method, figures);
  }

  /** Return what is shown of a map; where it was measured, the prediction is the one made without that measurement. */
  figuresOf(plan, { name, metric }) {
    const { data, projections, planner, state } = this.board;
    const { compressible, predictor, dense_perplexity: dense, measured } = data;
    const run = measurementOf(plan, metric, measured, (member) => projections.get(member).place);
    const perplexities = run?.predicted ?? predictPerplexity(predictor, metric, plan.nats, dense);
    const [ratio, low, high] = perplexities.map((value) => value / dense);
    return {
      kept: plan.params / compressible,
      bytes: planner.bytesOf(plan, state.dtype),
      perplexities,
      ratio,
      measured: run && run.perplexity / dense,
      interval: plan.params === compressible ? "the dense model itself" : intervalText(low, high),
    };
  }

  detailsOf(plan, { summary }, { perplexities, measured }) {
    const [predicted, low, high] = perplexities.map(perplexityText);
    const dense = this.board.data.dense_perplexity;
    return [
      summary,
      measured && `Measured perplexity ${perplexityText(measured * dense)}; dense ${perplexityText(dense)}`,
      `Predicted perplexity ${predicted}, likely ${low} to ${high}`,
      `${short(plan.params)} parameters and multiply–adds per token in the projections`,
      bitsOf(plan).map(([bits, n]) => `${n} of ${plan.blocks.length} blocks at ${bits} bits`).join("\n"),
      plan.bestOf && `Best of ${plan.bestOf} searched maps that fit`,
    ]
      .filter(Boolean)
      .join("\n");
  }

  pressed(event) {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const cards = [...this.cards.values()].map(({ card }) => card);
    const next = cards[(cards.indexOf(document.activeElement) + step + cards.length) % cards.length];
    next.focus();
    next.click();
  }
}
