import { measurementOf } from "../port/measured.js";
import { predictPerplexity } from "../port/prediction.js";
import { megabytes, perplexityText, short } from "./text.js";

const PARTS = [["b", ""], ["span", "rb-big"], ["small", "rb-range"], ["small", "rb-cost"], ["small", "rb-more"]];

/** A card per method: what its map costs and is predicted to do. */
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
      const [, big, range, cost, more] = parts;
      this.cards.set(name, { card, big, range, cost, more });
    }
    this.holder.replaceChildren(...[...this.cards.values()].map(({ card }) => card));
  }

  show() {
    for (const method of this.board.data.methods) this.showOne(method);
  }

  showOne({ name, metric }) {
    const { board } = this;
    const { card, big, range, cost, more } = this.cards.get(name);
    card.setAttribute("aria-checked", String(name === board.state.method));
    const plan = board.plans.get(name);
    this.figures.delete(name);
    if (!plan) {
      Object.assign(card.dataset, { keptFraction: "", params: "", predictedPerplexity: "", nats: "", search: "" });
      big.textContent = "–";
      range.textContent = board.reasons.get(name);
      cost.textContent = "";
      more.textContent = "";
      return;
    }
    const { compressible, predictor, dense_perplexity: dense, measured } = board.data;
    const [predicted, low, high] = predictPerplexity(predictor, metric, plan.nats, dense);
    const kept = plan.params / compressible;
    const bytes = board.planner.bytesOf(plan, board.bytesPerParam);
    Object.assign(card.dataset, {
      keptFraction: String(kept),
      params: String(plan.params),
      predictedPerplexity: String(predicted),
      nats: String(plan.nats),
      search: plan.search ?? "",
    });
    const run = measurementOf(plan, metric, measured, (member) => board.projections.get(member).place);
    this.figures.set(name, { kept, predicted });
    const [size, interval] = [`${(kept * 100).toFixed(2)} % kept`, `${perplexityText(low)} to ${perplexityText(high)}`];
    if (board.state.target === null) {
      big.textContent = perplexityText(predicted);
      range.textContent = `predicted perplexity, ${interval}`;
      cost.textContent = `${size} · ${megabytes(bytes)}`;
    } else {
      big.textContent = megabytes(bytes);
      range.textContent = `${size}, needed for the perplexity`;
      cost.textContent = `${perplexityText(predicted)} predicted, ${interval}`;
    }
    const extras = [plan.search === "predicted" && "predicted search", plan.bestOf && `best of ${plan.bestOf} searched maps that fit`, run && `measured ${run.perplexity.toFixed(2)}`];
    more.textContent = [`${short(plan.params)} parameters and multiply–adds per token`, ...extras.filter(Boolean)].join(" · ");
  }

  pressed(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const cards = [...this.cards.values()].map(({ card }) => card);
    cards[(cards.indexOf(document.activeElement) + step + cards.length) % cards.length]?.focus();
  }
}
