import { ROW } from "./map.js";

const [WIDTH, GAP] = [270, 8];

/** What is known about a projection, beside its bar. */
export class Tip {
  constructor(board) {
    this.board = board;
    this.element = board.find(".rb-tip");
    this.scroll = board.find(".rb-scroll");
  }

  /** Show lines about a projection, under the pointer or where the keyboard is; about null nothing. */
  show(name, by, lines) {
    const { element } = this;
    // Read before anything is written, or the page is laid out twice.
    const place = name && this.besides(name);
    element.dataset.by = name === null ? "" : by;
    element.textContent = lines.join("\n");
    if (place) element.style.transform = place;
  }

  besides(name) {
    const { board, scroll } = this;
    const [column, row] = board.map.placeOf(name);
    const left = scroll.offsetLeft + column * board.map.column - scroll.scrollLeft;
    const right = left + board.map.column + GAP;
    const fits = right + WIDTH <= scroll.offsetLeft + scroll.clientWidth;
    return `translate(${Math.max(fits ? right : left - WIDTH - GAP, 0)}px, ${row * ROW}px)`;
  }
}
