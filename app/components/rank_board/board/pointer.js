const CLICK_PX = 4;

/**
 * The map under a pointer. Hovering tells. A press selects: a bar, with Ctrl or Cmd one more, with Shift or from an
 * empty place a rectangle, on the axis layers. Dragging a bar holds it, and all that is selected with it.
 */
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

  find(event) {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const place = this.board.map.place(x, y);
    return { y, place, name: this.board.map.nameAt(...place), isAxis: place[1] === this.board.map.kinds.length };
  }

  press(event) {
    const { board } = this;
    if (!board.map || event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    board.find(".rb-scroll").focus({ preventScroll: true });
    const { y, place, name, isAxis } = this.find(event);
    const isAdding = event.ctrlKey || event.metaKey;
    const { selection } = board;
    const kept = isAdding ? [...selection.names] : [];
    if (isAxis) this.grip = { kind: "layers", from: place, kept };
    else if (event.shiftKey || name === null) {
      const from = event.shiftKey && selection.anchor ? board.map.placeOf(selection.anchor) : place;
      this.grip = { kind: "area", from, kept };
    } else if (isAdding) {
      this.grip = { kind: "none" };
      board.select(() => selection.toggle(name));
    } else {
      this.grip = { kind: "bars", name, y, moved: false };
      if (!selection.names.has(name)) board.select(() => selection.set([name]));
    }
    if (this.grip.from) this.selectTo(place);
  }

  move(event) {
    const { board, grip } = this;
    if (!board.map) return;
    const { y, place, name, isAxis } = this.find(event);
    if (!grip) {
      board.hover(isAxis ? null : name);
      return;
    }
    if (grip.from) this.selectTo(place);
    if (grip.kind !== "bars" || (!grip.moved && Math.abs(y - grip.y) < CLICK_PX)) return;
    grip.moved = true;
    const share = Math.min(Math.max(board.map.heightAt(grip.name, y), 0), 1);
    board.hold(board.selection.names, (_, full) => share * full);
  }

  selectTo([column, row]) {
    const { board, grip } = this;
    const { map, selection } = board;
    const last = [column, Math.min(row, map.kinds.length - 1)];
    const names = grip.kind === "layers" ? map.columns(grip.from[0], column) : map.rectangle(grip.from, last);
    board.select(() => {
      const anchor = map.nameAt(...grip.from) ?? names[0] ?? null;
      selection.set([...names, ...grip.kept]);
      Object.assign(selection, { anchor, cursor: map.nameAt(...last) ?? anchor });
    });
  }

  release() {
    const { board, grip } = this;
    this.grip = null;
    if (grip?.moved) {
      board.reporter.hurry();
      board.commit();
    } else if (grip?.kind === "bars" && board.selection.size > 1) board.select(() => board.selection.set([grip.name]));
  }
}
