const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const CHANGES = { "+": 1, "=": 1, "*": 16, "-": -1, _: -16 };
const COMMANDS = { l: "hold", " ": "hold", d: "dense" };

/** Everything the pointer does on the map, by keyboard; undo and redo wherever the focus is on the board. */
export function listenToKeys(board) {
  board.root.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || !board.state) return;
    event.preventDefault();
    board.do(event.shiftKey ? "redo" : "undo");
  });
  board.find(".rb-scroll").addEventListener("keydown", (event) => {
    const isOverList = event.key === "Escape" && board.find(".rb-keys").matches(":popover-open");
    if (event.ctrlKey || event.metaKey || !board.map || isOverList || !pressed(board, event)) return;
    event.preventDefault();
  });
}

function pressed(board, { key, shiftKey }) {
  const { map, selection } = board;
  const { cursor } = selection;
  const letter = key.toLowerCase();
  board.hovered = null;
  if (MOVES[key]) {
    const next = cursor === null ? map.nameAt(0, 0) : map.neighbour(cursor, ...MOVES[key]);
    if (next) board.select(() => (shiftKey ? selection.extend(map, next) : selection.set([next])));
  } else if (CHANGES[key]) board.step(shiftKey ? 16 * Math.sign(CHANGES[key]) : CHANGES[key]);
  else if (COMMANDS[letter]) board.do(COMMANDS[letter]);
  else if (key === "?") board.find(".rb-keys").togglePopover();
  else if (key === "Escape") board.select(() => selection.clear());
  else if (letter === "a") board.select(() => selection.set([...map.places.keys()]));
  else if (letter === "k" && cursor) selectAround(board, cursor, map.row(map.placeOf(cursor)[1]));
  else if (letter === "c" && cursor) selectAround(board, cursor, map.columns(map.placeOf(cursor)[0], map.placeOf(cursor)[0]));
  else return false;
  return true;
}

function selectAround(board, cursor, names) {
  board.select(() => {
    board.selection.set(names);
    Object.assign(board.selection, { cursor, anchor: cursor });
  });
}
