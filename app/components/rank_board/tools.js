/** The buttons and the rank field for the selected projection. */
export class Toolbar {
  constructor(board) {
    this.board = board;
    this.rank = board.find(".rb-rank");
    this.label = board.find(".rb-selected");
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
      if (board.selected === null || !(rank >= 1)) return;
      board.hold(board.selected, rank);
      board.commit();
    });
  }

  show() {
    const { board, rank } = this;
    const name = board.selected;
    const isSelected = name !== null;
    const { layer, kind } = isSelected ? board.projections.get(name) : {};
    this.label.textContent = isSelected ? `Layer ${layer}, ${kind}` : "Select a projection in the map";
    rank.disabled = !isSelected;
    if (isSelected) {
      rank.max = String(board.fullRank(name));
      if (document.activeElement !== rank) rank.value = String(board.rankOf(name));
    }
    const isHeld = isSelected && name in board.state.held;
    const isChangeable = isSelected && (board.decided?.has(name) || isHeld);
    const hold = this.buttons.get("hold");
    hold.setAttribute("aria-pressed", String(isHeld));
    hold.textContent = isHeld ? "Release" : "Hold";
    hold.disabled = !isChangeable;
    this.buttons.get("dense").disabled = !isChangeable;
    this.buttons.get("undo").disabled = !board.history.undoable.length;
    this.buttons.get("redo").disabled = !board.history.redoable.length;
    this.buttons.get("release").disabled = !Object.keys(board.state.held).length;
    board.root.dataset.selected = name ?? "";
  }
}
