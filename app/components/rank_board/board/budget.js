import { aboutBytes } from "../port/bytes.js";
import { megabytes, percentText, short } from "./text.js";

/** The budget: a kept fraction, megabytes of the whole model, or a predicted perplexity that is not to be exceeded. */
export class BudgetControl {
  constructor(board) {
    this.board = board;
    for (const name of ["keep", "percent", "mb", "dtype", "target", "notice"]) this[name] = board.find(`.rb-${name}`);
    this.keep.addEventListener("input", () => board.preview({ keep: Number(this.keep.value), target: null, time: null }));
    this.keep.addEventListener("change", () => board.commit());
    this.keep.addEventListener("pointerup", () => board.reporter.hurry());
    this.percent.addEventListener("change", () => this.typedKeep(this.percent.value));
    this.mb.addEventListener("change", () => this.typedMegabytes(this.mb.value));
    for (const field of [this.percent, this.mb]) field.addEventListener("blur", () => board.schedule());
    this.target.addEventListener("input", () => this.aimAt(this.target.value));
    this.target.addEventListener("change", () => {
      if (this.target.value === "" && board.state.target !== null) this.keepAtMost(this.shownKeep());
      board.commit();
    });
    this.dtype.addEventListener("change", () => this.storeAs(this.dtype.value));
    for (const button of board.root.querySelectorAll("[data-keep]")) {
      button.addEventListener("click", () => this.keepAtMost(Number(button.dataset.keep)));
    }
    for (const button of board.root.querySelectorAll("[data-ratio]")) {
      button.addEventListener("click", () => board.change({ target: this.perplexityOf(Number(button.dataset.ratio)), time: null }));
    }
  }

  /** Offer the budgets and number types there are. */
  build() {
    const { lowest_keep: lowest, number_types: types, chosen_bits: chosen } = this.board.data.constants;
    this.keep.min = String(lowest);
    this.percent.min = String(100 * lowest);
    this.dtype.replaceChildren(...Object.entries(types).map(([dtype, { bits }]) => new Option(dtype === chosen.dtype ? "chosen per block" : `${bits} bit`, dtype)));
  }

  /** Give sizes and times at another number type; a time is for one type, and bits are chosen for a size. */
  storeAs(dtype) {
    const { time } = this.board.state;
    if (!time) this.board.change({ dtype });
    else if (dtype === this.board.data.constants.chosen_bits.dtype) this.board.change({ dtype, time: null, keep: this.shownKeep() });
    else this.board.change({ dtype, time: { ...time, dtype } });
  }

  typedKeep(percent) {
    if (percent === "") return;
    const keep = Number(percent) / 100;
    const { lowest_keep: lowest } = this.board.data.constants;
    this.keepAtMost(keep);
    if (keep < lowest) this.correct(this.percent, `The smallest possible is ${percentText(lowest)}.`);
    if (keep > 1) this.correct(this.percent, "The largest possible is 100.0 %: the dense model.");
  }

  /** Keep as much as lets every method's map be within megabytes of the whole model. */
  typedMegabytes(megabytesTyped) {
    if (megabytesTyped === "") return;
    const { board } = this;
    const { compressible, constants } = board.data;
    const bytes = Number(megabytesTyped) * 1e6;
    if (this.choosesBits) {
      const others = 2 * (board.data.total - compressible);
      this.keepAtMost((Math.floor(bytes) - others + 0.5) / (2 * compressible));
      return;
    }
    const budget = board.planner.budgetWithin(bytes, board.state.held, board.state.dtype);
    // Half a parameter more, so that the fraction's whole parameters are the budget again.
    const keep = Math.min((budget + 0.5) / compressible, 1);
    this.keepAtMost(keep);
    board.compute();
    const largest = board.planner.bytesOf({ blocks: [] }, board.state.dtype);
    if (keep < constants.lowest_keep) this.correct(this.mb, `The smallest possible is ${megabytes(this.shownBytes())}.`);
    else if (bytes > largest) this.correct(this.mb, `The largest possible is ${megabytes(largest)}: the dense model.`);
    else this.say(`No method's map is larger than ${megabytes(bytes)}; this one has ${megabytes(this.shownBytes())}.`);
  }

  get choosesBits() {
    return this.board.state.dtype === this.board.data.constants.chosen_bits.dtype;
  }

  keepAtMost(keep) {
    const { lowest_keep: lowest } = this.board.data.constants;
    if (Number.isFinite(keep)) this.board.change({ keep: Math.min(Math.max(keep, lowest), 1), target: null, time: null });
  }

  /** Say what became of what was typed, until something else changes. */
  say(text) {
    this.said = { text, state: this.board.state };
  }

  /** Say why something else than what was typed is shown, in the field as well. */
  correct(field, text) {
    field.value = "";
    field.blur();
    this.say(text);
  }

  perplexityOf(ratio) {
    return Number((ratio * this.board.data.dense_perplexity).toFixed(4));
  }

  aimAt(ratioTyped) {
    if (ratioTyped === "") return;
    const ratio = Math.max(Number(ratioTyped), 1);
    this.board.preview({ target: this.perplexityOf(ratio), time: null });
    if (Number(ratioTyped) < 1) this.say("The smallest possible is 1 ×: as good as the dense model.");
  }

  /** Return the kept fraction that is drawn: the budget, or what the active method has for a perplexity or a time. */
  shownKeep() {
    const { state, plans, data } = this.board;
    const plan = state.target === null && !state.time ? null : plans.get(state.method);
    return plan ? plan.params / data.compressible : state.keep;
  }

  /** Return the bytes of the whole model with the map that is drawn; without one those of the budget. */
  shownBytes() {
    const { board } = this;
    const { compressible, total } = board.data;
    const plan = board.plans.get(board.state.method);
    if (plan) return board.planner.bytesOf(plan, board.state.dtype);
    const { numberType } = board;
    return (total - compressible) * numberType.other_bytes + aboutBytes(board.budget, numberType);
  }

  show() {
    const { board } = this;
    const { target, dtype } = board.state;
    const { compressible, dense_perplexity: dense } = board.data;
    const keep = this.shownKeep();
    const size = this.shownBytes();
    const text = this.choosesBits ? `${percentText(keep)} of the bytes, ${megabytes(size)}` : `${percentText(keep)} kept, ${short(Math.floor(keep * compressible))} parameters, ${megabytes(size)}`;
    if (Number(this.keep.value) !== keep) this.keep.value = String(keep);
    const { lowest_keep: lowest } = board.data.constants;
    this.keep.style.setProperty("--rb-part", `${(100 * (keep - lowest)) / (1 - lowest)}%`);
    this.keep.setAttribute("aria-valuetext", text);
    this.keep.dataset.keptFraction = String(keep);
    this.put(this.percent, (keep * 100).toFixed(1));
    this.put(this.mb, String(Number((size / 1e6).toPrecision(4))));
    this.put(this.target, target === null ? "" : String(Number((target / dense).toFixed(3))));
    if (this.dtype.value !== dtype) this.dtype.value = dtype;
    const { bits, scale_bytes: scale } = board.numberType;
    const chosen = this.choosesBits ? `${board.titleOf(board.data.constants.chosen_bits.method)} chooses the bits of every block for this size, when you let go; all others have 16. Kept is of the bytes at 16 bits.` : "";
    const rounded = chosen || !scale ? chosen : `Sizes are at ${bits} bits, perplexities at 16: what rounding harms comes on top.`;
    const { time } = board.state;
    const methods = time ? `Every method's best map that is predicted to take at most ${Number(time.ms.toPrecision(4))} ms per token.` : "Every method at its smallest size.";
    const aim = target === null && !time ? rounded : `${methods} ${rounded}`.trim();
    this.notice.textContent = this.said?.state === board.state ? this.said.text : aim;
    board.root.dataset.target = target === null ? "" : String(target);
  }

  put(field, value) {
    if (document.activeElement !== field && field.value !== value) field.value = value;
  }
}
