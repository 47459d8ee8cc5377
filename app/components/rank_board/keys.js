const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const CHANGES = { "+": 1, "=": 1, "*": 16, "-": -1, _: -16 };

/** Everything the pointer does on the map, by keyboard; undo and redo wherever the focus is on the board. */
export function listenToKeys(board) {
  board.root.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || !board.state) return;
    event.preventDefault();
    board.do(event.shiftKey ? "redo" : "undo");
  });
  board.find(".rb-map").addEventListener("keydown", (event) => pressed(board, event));
}

function pressed(board, event) {
  if (event.ctrlKey || event.metaKey || !board.map) return;
  const name = board.selected;
  const change = CHANGES[event.key];
  if (MOVES[event.key]) {
    const next = name === null ? board.map.first : board.map.neighbour(name, ...MOVES[event.key]);
    if (next) board.select(next.name);
    board.hovered = null;
  } else if (change && name !== null) {
    const steps = event.shiftKey ? 16 * Math.sign(change) : change;
    board.hold(name, board.rankOf(name) + steps * board.curves.rankStep);
    board.commit();
  } else if (event.key.toLowerCase() === "l" || event.key === " ") board.do("hold");
  else if (event.key.toLowerCase() === "d") board.do("dense");
  else return;
  event.preventDefault();
}
