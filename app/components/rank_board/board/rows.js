/** The names of the kinds beside the map; pressing one selects its row. */
export function buildRows(board) {
  const buttons = board.map.kinds.map((kind, row) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "rb-kind", textContent: kind });
    button.setAttribute("aria-label", `Select ${kind} in every layer`);
    button.dataset.kind = kind;
    button.addEventListener("click", (event) => {
      const isAdding = event.ctrlKey || event.metaKey;
      board.select(() => board.selection.set(board.map.row(row), isAdding));
    });
    return button;
  });
  board.find(".rb-rows").replaceChildren(...buttons);
}
