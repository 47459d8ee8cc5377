import { shareOf } from "./difference.js";
import { maxUsefulRank } from "../port/formats.js";

// No method's colours: blues factor, browns leave out columns as well, and the lighter of a pair shares a factor; width,
// which factors nothing, is wine red and striped.
export const COLOURS = { dense: "#8a8f98", "low-rank": "#4554b8", cat: "#bdb2f5", skip: "#7a5c12", "skip+cat": "#c7b46a", width: "#7a1840" };
export const MORE = "#009e73";
export const LESS = "#cc79a7";

export const ROW = 50;
const AXIS = 22;
const NARROWEST = 12;
const ZOOMED = 48;
const MARGIN = 4;
const BAR = ROW - 2 * MARGIN;

/** Return all that the drawing of a projection depends on. */
function lookOf(name, { decided, before, isHeld, isSelected, cursor, hovered }) {
  const cell = decided?.get(name);
  const other = cell && before?.get(name);
  const frame = isSelected(name) ? (name === cursor ? 3 : 1.5) : 0;
  return [cell?.format, cell?.rank, cell && shareOf(cell), other && shareOf(other), cell?.bits, isHeld(name), name === hovered, frame];
}

/** The map of one method: a column per layer, a row per kind, a bar of kept rank in every cell. */
export class RankMap {
  constructor(canvas, projections) {
    this.canvas = canvas;
    this.kinds = [...new Set(projections.map((p) => p.kind))];
    this.layers = [...new Set(projections.map((p) => p.layer))].sort((a, b) => a - b);
    this.cells = this.layers.map(() => this.kinds.map(() => null));
    this.places = new Map();
    const [columns, rows] = [this.layers, this.kinds].map((all) => new Map(all.map((value, i) => [value, i])));
    for (const p of projections) {
      const [i, row] = [columns.get(p.layer), rows.get(p.kind)];
      const useful = maxUsefulRank("low-rank", p.inFeatures, p.outFeatures);
      this.cells[i][row] ??= { ...p, breakEven: useful / Math.min(p.inFeatures, p.outFeatures) };
      this.places.set(p.name, [i, row]);
    }
    this.isZoomed = false;
    this.height = this.kinds.length * ROW + AXIS;
    this.readSize();
  }

  /** Take over the size there is; columns never get narrower than can be read, the map scrolls instead. */
  readSize() {
    this.column = Math.max(this.canvas.parentElement.clientWidth / this.layers.length, this.isZoomed ? ZOOMED : NARROWEST);
    this.width = Math.floor(this.column * this.layers.length);
    this.ratio = globalThis.devicePixelRatio || 1;
    // On whole pixels of the screen, so that a cell is drawn without touching the next.
    this.edges = Array.from({ length: this.layers.length + 1 }, (_, i) => Math.round(i * this.column * this.ratio) / this.ratio);
    this.looks = null;
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    Object.assign(this.canvas.style, { width: `${this.width}px`, height: `${this.height}px` });
  }

  /** Take over the colours of the page; with forced colours those of the system. */
  readColours() {
    const style = getComputedStyle(this.canvas);
    const isForced = matchMedia("(forced-colors: active)").matches;
    const read = (name, system, fallback) => (isForced ? system : style.getPropertyValue(name).trim() || fallback);
    const now = {
      text: read("--st-text-color", "CanvasText", "#222"),
      page: read("--st-background-color", "Canvas", "#fff"),
      ground: read("--st-secondary-background-color", "Canvas", "#f0f2f6"),
      accent: read("--st-primary-color", "Highlight", "#ff4b4b"),
      font: style.fontFamily,
    };
    if (Object.entries(now).every(([name, value]) => this[name] === value)) return;
    Object.assign(this, now, { looks: null });
  }

  // ---- places ----

  placeOf(name) {
    return this.places.get(name);
  }

  nameAt(column, row) {
    return this.cells[column]?.[row]?.name ?? null;
  }

  /** Return the column and the row of a point; a row past the last is the axis. */
  place(x, y) {
    const clamp = (value, n) => Math.min(Math.max(Math.floor(value), 0), n);
    return [clamp(x / this.column, this.layers.length - 1), clamp(y / ROW, this.kinds.length)];
  }

  /** Height of a point in its row as a fraction, 0 at the bottom of the bar and 1 at the top. */
  heightAt(name, y) {
    return ((this.placeOf(name)[1] + 1) * ROW - MARGIN - y) / BAR;
  }

  neighbour(name, dx, dy) {
    const [column, row] = this.placeOf(name);
    return this.nameAt(column + dx, row + dy);
  }

  rectangle([c0, r0], [c1, r1]) {
    const names = [];
    for (let c = Math.min(c0, c1); c <= Math.max(c0, c1); c += 1) {
      for (let r = Math.min(r0, r1); r <= Math.max(r0, r1); r += 1) names.push(this.nameAt(c, r));
    }
    return names.filter((name) => name !== null);
  }

  row(row) {
    return this.rectangle([0, row], [this.layers.length - 1, row]);
  }

  columns(from, to) {
    return this.rectangle([from, 0], [to, this.kinds.length - 1]);
  }

  // ---- drawing ----

  /** Draw decisions where they have changed; `before` are another map's, `isHeld` and `isSelected` tell of a projection. */
  draw(shown) {
    this.context = this.canvas.getContext("2d", { alpha: false });
    if (!this.looks) this.drawGround();
    for (const [i, column] of this.cells.entries()) {
      for (const [row, p] of column.entries()) {
        if (p === null) continue;
        const look = lookOf(p.name, shown);
        if (this.looks[i][row]?.every((value, at) => value === look[at])) continue;
        this.looks[i][row] = look;
        this.drawCell(i, row, p.breakEven, look);
      }
    }
  }

  /** Draw what does not change with decisions, and forget what was drawn. */
  drawGround() {
    this.looks = this.layers.map(() => []);
    this.context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.fill(this.page, 0, 0, this.width, this.height);
    this.drawAxis();
  }

  /** Draw one cell, all of which is within its column and row. */
  drawCell(column, row, breakEven, [format, rank, share, was, bits, isHeld, isHovered, frame]) {
    const x = this.edges[column];
    const whole = this.edges[column + 1] - x;
    const w = whole - (this.column > 14 ? 2 : 1);
    const top = row * ROW + MARGIN;
    this.fill(this.page, x, row * ROW, whole, ROW);
    this.fill(this.ground, x, top, w, BAR);
    if (format) this.fill(COLOURS[format], x, top + BAR * (1 - share), w, BAR * share);
    if (format === "width") this.stripe(x, top + BAR * (1 - share), w, BAR * share);
    if (was !== undefined) this.drawDifference(x, top, w, share, was);
    if (format !== "width") this.fill(this.text, x, Math.round(top + BAR * (1 - breakEven)), w, 1);
    if (isHeld) this.outline(this.accent, x + 1, top + 1, w - 2, BAR - 2, 2);
    if (isHovered) this.outline(this.text, x + 0.5, top + 0.5, w - 1, BAR - 1, 1);
    if (frame) this.outline(this.text, x + frame / 2, top - 2, whole - frame, BAR + 4, frame);
    if (format && this.isZoomed) this.write(rank ?? "dense", x + w / 2, top + BAR / 2);
    if (bits < 16) this.writeBits(bits, x + w / 2, top + BAR);
  }

  /** Write a rank on its bar, on a ground of its own so that it is read on every colour. */
  write(text, x, y) {
    const { context } = this;
    context.font = `12px ${this.font}`;
    context.textAlign = "center";
    const { width } = context.measureText(text);
    this.fill(this.page, x - width / 2 - 3, y - 8, width + 6, 16);
    context.fillStyle = this.text;
    context.fillText(String(text), x, y);
  }

  /** Write how many bits the weights of a block have at the foot of its bar. */
  writeBits(bits, x, foot) {
    const { context } = this;
    this.fill(this.page, x - 4, foot - 12, 8, 12);
    context.font = `bold 10px ${this.font}`;
    context.textAlign = "center";
    context.fillStyle = this.text;
    context.fillText(String(bits), x, foot - 5.5);
  }

  drawAxis() {
    const { context, layers, column } = this;
    const every = [1, 2, 5, 10, 20, 50].find((n) => n * column >= 26) ?? 100;
    const y = this.kinds.length * ROW + AXIS / 2;
    context.font = `12px ${this.font}`;
    context.fillStyle = this.text;
    context.textBaseline = "middle";
    context.textAlign = "center";
    layers.forEach((layer, i) => i % every === 0 && context.fillText(String(layer), (i + 0.5) * column, y));
  }

  /** Draw what lies between a bar and where it was, with a sign, and where it was as a ghost. */
  drawDifference(x, top, w, share, was) {
    const { context } = this;
    const y = (value) => top + BAR * (1 - value);
    const [upper, lower] = [y(Math.max(share, was)), y(Math.min(share, was))];
    const isMore = share > was;
    if (lower - upper >= 1) {
      this.fill(isMore ? MORE : LESS, x, upper, w, lower - upper);
      if (!isMore) this.hatch(x, upper, w, lower - upper);
      if (w >= 9 && lower - upper >= 9) this.sign(isMore, x + w / 2, (upper + lower) / 2);
    }
    context.setLineDash([3, 2]);
    this.outline(this.text, x + 0.5, y(was), w - 1, BAR * was, 1);
    context.setLineDash([]);
  }

  hatch(x, y, w, h) {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(x, y, w, h);
    context.clip();
    context.strokeStyle = "#0008";
    context.lineWidth = 1;
    context.beginPath();
    for (let at = x - h; at < x + w; at += 5) {
      context.moveTo(at, y + h);
      context.lineTo(at + h, y);
    }
    context.stroke();
    context.restore();
  }

  /** Mark a bar of kept neurons with upright lines. */
  stripe(x, y, w, h) {
    for (let at = 2; at < w; at += 4) this.fill("#fffb", x + at, y, 1, h);
  }

  sign(isPlus, x, y) {
    this.fill("#000", x - 3, y - 0.75, 6, 1.5);
    if (isPlus) this.fill("#000", x - 0.75, y - 3, 1.5, 6);
  }

  fill(colour, x, y, w, h) {
    this.context.fillStyle = colour;
    this.context.fillRect(x, y, w, h);
  }

  outline(colour, x, y, w, h, width) {
    this.context.strokeStyle = colour;
    this.context.lineWidth = width;
    this.context.strokeRect(x, y, w, h);
  }
}
