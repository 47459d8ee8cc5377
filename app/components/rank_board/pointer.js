const CLICK_PX = 4;

/** The map under a pointer: hovering tells, pressing selects, dragging holds a rank, a double click makes dense. */
export class MapPointer {
  constructor(board) {
    this.board = board;
    this.canvas = board.find(".rb-canvas");
    this.grip = null;
    const on = (name, listener) => this.canvas.addEventListener(name, listener);
    on("pointerdown", (event) => this.press(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", () => this.release());
    on("pointercancel", () => this.release());
    on("pointerleave", () => board.hover(null));
    on("dblclick", () => board.do("dense"));
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  press(event) {
    const [x, y] = this.place(event);
    const cell = this.board.map?.at(x, y);
    if (!cell || event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.grip = { name: cell.name, y, moved: false };
    this.board.select(cell.name);
  }

  move(event) {
    const { board, grip } = this;
    const [x, y] = this.place(event);
    if (!grip) {
      board.hover(board.map?.at(x, y)?.name ?? null);
      return;
    }
    if (!grip.moved && Math.abs(y - grip.y) < CLICK_PX) return;
    grip.moved = true;
    board.hold(grip.name, board.map.heightAt(grip.name, y) * board.fullRank(grip.name));
  }

  release() {
    if (this.grip?.moved) {
      this.board.reporter.hurry();
      this.board.commit();
    }
    this.grip = null;
  }
}
