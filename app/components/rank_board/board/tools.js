import { aboutBytes } from "../port/bytes.js";
import { selectionText } from "./selection.js";
import { megabytes, short } from "./text.js";

/** What can be done with the selection, and to the board as a whole. */
export class Toolbar {
  constructor(board) {
    this.board = board;
    for (const name of ["unit", "rank", "fraction", "share", "selected", "rebalance", "balance", "compare"]) {
      this[name] = board.find(`.rb-${name}`);
    }
    this.buttons = new Map();
    for (const button of board.root.querySelectorAll("[data-do]")) {
      this.buttons.set(button.dataset.do, button);
      button.addEventListener("click", () => {
        board.reporter.hurry();
        board.do(button.dataset.do);
      });
    }
    this.rank.addEventListener("change", () => {
      const rank = Number(this.rank.value);
      if (rank >= 1) board.change(() => board.hold(board.selection.names, () => rank));
      const [name] = board.selection.names;
      const full = board.fullRank(name);
      if (rank > full) board.budgetControl.say(`${board.narrowMlp(name) ? "All neurons are" : "The full rank is"} ${full}: it is kept dense.`);
    });
    const toShare = (percent) => board.hold(board.selection.names, (_, full) => (percent / 100) * full);
    this.share.addEventListener("change", () => {
      const percent = Number(this.share.value);
      if (percent > 0) board.change(() => toShare(Math.min(percent, 100)));
    });
    this.fraction.addEventListener("input", () => toShare(Number(this.fraction.value)));
    this.fraction.addEventListener("change", () => board.commit());
    this.fraction.addEventListener("pointerup", () => board.reporter.hurry());
    this.rebalance.addEventListener("change", () => board.do("rebalance"));
    this.compare.addEventListener("change", () => board.change({ compare: this.compare.value || null }));
  }

  /** Offer everything the map can be compared with. */
  build() {
    const { methods, saved } = this.board.data;
    const here = [["", "nothing"], ...methods.filter(({ fixed }) => !fixed).map(({ name, title }) => [name, `${title} at this budget`])];
    const options = [...here, ...saved.map(([id, name]) => [id, `saved: ${name}`])].map(([value, text]) => new Option(text, value));
    this.compare.replaceChildren(...options);
  }

  show() {
    const { board } = this;
    const { selection, state } = board;
    const { names } = selection;
    const isOne = names.size === 1;
    const [name] = names;
    this.selected.textContent = selectionText(names, board.projections);
    this.unit.textContent = isOne && board.narrowMlp(name) ? "Neurons" : "Rank";
    this.rank.disabled = !isOne;
    const shares = [...names].map((each) => board.rankOf(each) / board.fullRank(each));
    const mean = shares.reduce((sum, value) => sum + value, 0) / shares.length;
    if (isOne) this.rank.max = String(board.fullRank(name));
    this.put(this.rank, isOne ? String(board.rankOf(name)) : "");
    this.put(this.share, names.size ? (mean * 100).toFixed(1) : "");
    this.put(this.fraction, names.size ? (mean * 100).toFixed(1) : "50");
    this.fraction.setAttribute("aria-valuetext", names.size ? `${(mean * 100).toFixed(1)} % of the full rank` : "nothing selected");
    for (const field of [this.share, this.fraction]) field.disabled = !names.size;
    const areHeld = names.size > 0 && [...names].every((each) => board.isHeld(each));
    const isChangeable = names.size > 0 && (board.decided !== null || areHeld);
    const hold = this.buttons.get("hold");
    hold.setAttribute("aria-pressed", String(areHeld));
    hold.textContent = areHeld ? "Release" : "Hold";
    for (const what of ["hold", "dense", "less", "more"]) this.buttons.get(what).disabled = !isChangeable;
    this.buttons.get("undo").disabled = !board.history.undoable.length;
    this.buttons.get("redo").disabled = !board.history.redoable.length;
    this.buttons.get("release").disabled = !Object.keys(state.held).length;
    const isFixed = board.methodOf(state.method)?.fixed !== undefined;
    this.rebalance.checked = state.base === null && !isFixed;
    this.rebalance.disabled = isFixed;
    this.balance.textContent = this.balanceText();
    const compared = state.compare ?? "";
    if (this.compare.value !== compared) this.compare.value = compared;
    this.buttons.get("zoom").setAttribute("aria-pressed", String(board.map.isZoomed));
    board.root.dataset.selected = [...names].join(" ");
  }

  put(field, value) {
    if (this.board.root.ownerDocument.activeElement !== field && field.value !== value) field.value = value;
  }

  balanceText() {
    const { board } = this;
    const plan = board.plans.get(board.state.method);
    if (board.methodOf(board.state.method)?.fixed) return "Off: an opened map has no budget to keep; only the ranks you edit change.";
    if (board.state.base === null) return "On: the other ranks adjust to stay within the budget.";
    if (!plan) return "Off: other ranks stay as they are.";
    const over = plan.params - board.budget;
    const size = `${short(Math.abs(over))} parameters (${megabytes(aboutBytes(Math.abs(over), board.numberType))})`;
    return `Off: other ranks stay as they are. ${over > 0 ? `${size} over the budget` : `${size} of the budget are left`}.`;
  }
}
