import { megabytes, perplexityText, short } from "./text.js";

const PRESETS = [0.9, 0.8, 0.7, 0.6, 0.5];
const RATIOS = [1.1, 1.25, 1.5];

/** The budget: a kept fraction, megabytes of the whole model, or a predicted perplexity that is not to be exceeded. */
export class BudgetControl {
  constructor(board) {
    this.board = board;
    for (const name of ["keep", "percent", "mb", "dtype", "target", "aim"]) this[name] = board.find(`.rb-${name}`);
    this.keep.addEventListener("input", () => board.preview({ keep: Number(this.keep.value), target: null }));
    this.keep.addEventListener("change", () => board.commit());
    this.keep.addEventListener("pointerup", () => board.reporter.hurry());
    this.percent.addEventListener("change", () => this.typed(Number(this.percent.value) / 100));
    this.mb.addEventListener("change", () => {
      const { compressible, total } = board.data;
      const params = (Number(this.mb.value) * 1e6) / board.bytesPerParam;
      this.typed((params - (total - compressible)) / compressible);
    });
    this.target.addEventListener("input", () => this.aimAt(Number(this.target.value)));
    this.target.addEventListener("change", () => {
      if (this.target.value === "" && board.state.target !== null) this.typed(this.shownKeep());
      board.commit();
    });
    this.dtype.addEventListener("change", () => board.change({ dtype: this.dtype.value }));
    this.button(".rb-presets", PRESETS, (keep) => `${keep * 100} %`, (keep) => board.change({ keep, target: null }));
    this.button(".rb-ratios", RATIOS, (ratio) => `${ratio} ×`, (ratio) => {
      board.change({ target: Number((ratio * board.data.dense_perplexity).toFixed(2)) });
    });
  }

  button(holder, values, title, press) {
    for (const value of values) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", className: "rb-button", textContent: title(value) });
      button.addEventListener("click", () => press(value));
      this.board.find(holder).append(button);
    }
  }

  /** Offer the budgets and number types there are. */
  build() {
    const { lowest_keep: lowest, bytes_per_param: bytes } = this.board.data.constants;
    this.keep.min = String(lowest);
    this.percent.min = String(100 * lowest);
    this.dtype.replaceChildren(...Object.entries(bytes).map(([dtype, size]) => new Option(`${8 * size} bit`, dtype)));
  }

  typed(keep) {
    const { lowest_keep: lowest } = this.board.data.constants;
    if (Number.isFinite(keep)) this.board.change({ keep: Math.min(Math.max(keep, lowest), 1), target: null });
  }

  aimAt(perplexity) {
    if (perplexity >= 1) this.board.preview({ target: perplexity });
  }

  /** Return the kept fraction that is drawn: the budget, or what the active method needs for the perplexity. */
  shownKeep() {
    const { state, plans, data } = this.board;
    const plan = state.target === null ? null : plans.get(state.method);
    return plan ? plan.params / data.compressible : state.keep;
  }

  show() {
    const { board } = this;
    const { target, dtype } = board.state;
    const { compressible, total, dense_perplexity: dense } = board.data;
    const keep = this.shownKeep();
    const params = Math.floor(keep * compressible);
    const size = (total - compressible + params) * board.bytesPerParam;
    const text = `${(keep * 100).toFixed(1)} % kept, ${short(params)} parameters, ${megabytes(size)}`;
    if (Number(this.keep.value) !== keep) this.keep.value = String(keep);
    this.keep.setAttribute("aria-valuetext", text);
    this.keep.dataset.keptFraction = String(keep);
    this.put(this.percent, (keep * 100).toFixed(1));
    this.put(this.mb, (size / 1e6).toFixed(1));
    this.put(this.target, target === null ? "" : String(target));
    this.target.min = dense.toFixed(2);
    this.target.placeholder = `≥ ${dense.toFixed(2)}`;
    this.dtype.value = dtype;
    this.aim.textContent =
      target === null
        ? "A hard limit on all projections together; embeddings and norms are never compressed."
        : `Each method at its smallest size with a predicted perplexity of at most ${perplexityText(target)}.`;
    board.root.dataset.target = target === null ? "" : String(target);
  }

  put(field, value) {
    if (document.activeElement !== field && field.value !== value) field.value = value;
  }
}
