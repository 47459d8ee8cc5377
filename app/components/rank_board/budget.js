import { megabytes, short } from "./text.js";

const PRESETS = [0.9, 0.8, 0.7, 0.6, 0.5];
const LOWEST_KEEP = 0.1;

/** The budget as kept fraction and as megabytes of the whole model. */
export class BudgetControl {
  constructor(board) {
    this.board = board;
    for (const name of ["keep", "percent", "mb", "dtype"]) this[name] = board.find(`.rb-${name}`);
    this.keep.addEventListener("input", () => board.preview({ keep: Number(this.keep.value) }));
    this.keep.addEventListener("change", () => board.commit());
    this.keep.addEventListener("pointerup", () => board.reporter.hurry());
    this.percent.addEventListener("change", () => this.typed(Number(this.percent.value) / 100));
    this.mb.addEventListener("change", () => {
      const { compressible, total } = board.data;
      const params = (Number(this.mb.value) * 1e6) / board.bytesPerParam;
      this.typed((params - (total - compressible)) / compressible);
    });
    this.dtype.addEventListener("change", () => board.schedule());
    for (const keep of PRESETS) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", className: "rb-button", textContent: `${keep * 100} %` });
      button.addEventListener("click", () => board.change({ keep }));
      board.find(".rb-presets").append(button);
    }
  }

  typed(keep) {
    if (Number.isFinite(keep)) this.board.change({ keep: Math.min(Math.max(keep, LOWEST_KEEP), 1) });
  }

  show() {
    const { keep } = this.board.state;
    const { compressible, total } = this.board.data;
    const { budget } = this.board;
    const size = (total - compressible + budget) * this.board.bytesPerParam;
    const text = `${(keep * 100).toFixed(1)} % kept, ${short(budget)} parameters, ${megabytes(size)}`;
    if (Number(this.keep.value) !== keep) this.keep.value = String(keep);
    this.keep.setAttribute("aria-valuetext", text);
    this.keep.dataset.keptFraction = String(keep);
    for (const [field, value] of [[this.percent, (keep * 100).toFixed(1)], [this.mb, (size / 1e6).toFixed(1)]]) {
      if (document.activeElement !== field) field.value = value;
    }
  }
}
