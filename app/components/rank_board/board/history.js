const MOST_STEPS = 200;

export const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** Settled states, to go back to and forth again. */
export class History {
  constructor() {
    this.clear();
  }

  clear() {
    this.undoable = [];
    this.redoable = [];
  }

  remember(state) {
    this.undoable.push(state);
    if (this.undoable.length > MOST_STEPS) this.undoable.shift();
    this.redoable = [];
  }

  /** Return the state before (or after an undo, the next), given the one to come back to; null if there is none. */
  step(isUndo, now) {
    const [from, to] = isUndo ? [this.undoable, this.redoable] : [this.redoable, this.undoable];
    if (!from.length) return null;
    to.push(now);
    return from.pop();
  }
}
