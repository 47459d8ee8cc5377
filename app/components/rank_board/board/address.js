// The selection in the address of the page, by places in model order, such as `select=0-6.14`: a reload and a link keep it.

const PARAMETER = "select";

/** Return places as ascending ranges. */
export function asRanges(places) {
  const ranges = [];
  for (const place of [...places].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last && place === last[1] + 1) last[1] = place;
    else ranges.push([place, place]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(".");
}

/** Return the places below `count` that ranges name; what is no range names none. */
export function ofRanges(text, count) {
  const places = [];
  for (const range of text.split(".")) {
    const [, first, last] = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(range) ?? [];
    for (let place = Number(first); place <= Number(last ?? first) && place < count; place++) places.push(place);
  }
  return places;
}

/** Return the names that the address selects. */
export function selectedInAddress(projections) {
  const text = new URL(globalThis.location.href).searchParams.get(PARAMETER) ?? "";
  const names = [...projections.keys()];
  return ofRanges(text, names.length).map((place) => names[place]);
}

/** Write the selection into the address, where Python's own changes of it may have dropped it. */
export function selectInAddress(names, projections) {
  const wanted = asRanges([...names].map((name) => projections.get(name).place));
  const address = new URL(globalThis.location.href);
  if ((address.searchParams.get(PARAMETER) ?? "") === wanted) return;
  if (wanted) address.searchParams.set(PARAMETER, wanted);
  else address.searchParams.delete(PARAMETER);
  globalThis.history.replaceState(globalThis.history.state, "", address);
}
