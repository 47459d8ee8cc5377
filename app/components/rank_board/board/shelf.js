// Where decoded curves wait for the board, which may be drawn before they arrive.

export function shelf(name) {
  const all = (globalThis.rankscopeCurves ??= new Map());
  if (!all.has(name)) {
    const entry = {};
    entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    all.set(name, entry);
    for (const old of [...all.keys()].slice(0, -4)) all.delete(old);
  }
  return all.get(name);
}
