const PAUSE_MS = 250;

/** Tells Python the state: at once when the pointer is released, after a pause while keys repeat. */
export class Reporter {
  constructor(board) {
    this.board = board;
    this.isHurried = false;
    // What is pressed elsewhere on the page comes after what was done here.
    board.root.addEventListener("focusout", () => this.flush());
    board.root.addEventListener("pointerleave", () => this.flush());
  }

  /** Let the next report go out without a pause. */
  hurry() {
    this.isHurried = true;
  }

  send(state) {
    clearTimeout(this.waiting);
    this.unsent = state;
    this.waiting = setTimeout(() => this.flush(), this.isHurried ? 0 : PAUSE_MS);
    this.isHurried = false;
  }

  flush() {
    clearTimeout(this.waiting);
    if (this.unsent && this.board.root.isConnected) this.board.report(this.unsent);
    this.unsent = null;
  }
}
