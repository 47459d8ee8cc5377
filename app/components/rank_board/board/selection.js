/** The projections that are selected, and the one the keyboard moves. */
export class Selection {
  constructor() {
    this.clear();
  }

  clear() {
    this.names = new Set();
    this.cursor = null;
    this.anchor = null;
  }

  get size() {
    return this.names.size;
  }

  /** Select these instead of, or besides, what is selected; the first is where rectangles start. */
  set(names, isAdding = false) {
    this.names = new Set(isAdding ? [...this.names, ...names] : names);
    [this.cursor = null] = names;
    this.anchor = this.cursor;
  }

  toggle(name) {
    const names = new Set(this.names);
    if (!names.delete(name)) names.add(name);
    Object.assign(this, { names, cursor: name, anchor: name });
  }

  /** Select the rectangle from where it started to `name`, in addition to `kept`. */
  extend(map, name, kept = []) {
    this.anchor ??= name;
    this.names = new Set([...kept, ...map.rectangle(map.placeOf(this.anchor), map.placeOf(name))]);
    this.cursor = name;
  }
}

const range = (values) => (values.length > 1 ? `${values[0]} to ${values.at(-1)}` : String(values[0]));

/** Return what is selected in words. */
export function selectionText(names, projections) {
  if (!names.size) return "Drag a bar to hold its rank; click to select.";
  const selected = [...names].map((name) => projections.get(name));
  const kinds = [...new Set(selected.map((p) => p.kind))];
  const layers = [...new Set(selected.map((p) => p.layer))].sort((a, b) => a - b);
  const isGapless = layers.at(-1) - layers[0] === layers.length - 1;
  const where = isGapless ? `layer${layers.length > 1 ? "s" : ""} ${range(layers)}` : `${layers.length} layers`;
  if (selected.length === 1) return `Layer ${layers[0]}, ${kinds[0]}`;
  return `${selected.length} projections: ${kinds.join(", ")}; ${where}`;
}
