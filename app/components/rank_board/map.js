import { maxUsefulRank } from "./formats.js";

// Okabe and Ito's colours, which the colour-blind tell apart; dense is grey.
export const COLOURS = { dense: "#8a8f98", "low-rank": "#0072b2", cat: "#56b4e9", skip: "#d55e00", "skip+cat": "#e69f00" };

const LABELS = 64;
const AXIS = 20;
const ROW = 50;

/** The map of one method: a column per layer, a row per kind, a bar of kept rank in every cell. */
export class RankMap {
  constructor(canvas, projections) {
    this.canvas = canvas;
    this.kinds = [...new Set(projections.map((p) => p.kind))];
    this.layers = [...new Set(projections.map((p) => p.layer))].sort((a, b) => a - b);
    this.cells = new Map();
    for (const p of projections) {
      const place = `${this.layers.indexOf(p.layer)} ${this.kinds.indexOf(p.kind)}`;
      if (!this.cells.has(place)) this.cells.set(place, p);
    }
  }

  get column() {
    return Math.max((this.canvas.clientWidth - LABELS) / this.layers.length, 4);
  }

  placeOf(name) {
    for (const [place, p] of this.cells) if (p.name === name) return place.split(" ").map(Number);
    return null;
  }

  at(x, y) {
    const layer = Math.floor((x - LABELS) / this.column);
    return x < LABELS ? null : this.cells.get(`${layer} ${Math.floor(y / ROW)}`) ?? null;
  }

  /** Height of a point in its row as a fraction, 0 at the bottom of the bar and 1 at the top. */
  heightAt(name, y) {
    const [, row] = this.placeOf(name);
    return ((row + 1) * ROW - 4 - y) / (ROW - 8);
  }

  neighbour(name, dx, dy) {
    const [layer, row] = this.placeOf(name);
    return this.cells.get(`${layer + dx} ${row + dy}`) ?? null;
  }

  get first() {
    return this.cells.values().next().value;
  }

  draw(decided, held, selected, hovered) {
    const { canvas, kinds, layers } = this;
    const ratio = globalThis.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = kinds.length * ROW + AXIS;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = `${height}px`;
    }
    const style = getComputedStyle(canvas);
    const read = (name, fallback) => style.getPropertyValue(name).trim() || fallback;
    const text = read("--st-text-color", "#222");
    const ground = read("--st-secondary-background-color", "#f0f2f6");
    const accent = read("--st-primary-color", "#ff4b4b");
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = `12px ${style.fontFamily}`;
    context.fillStyle = text;
    context.textBaseline = "middle";
    kinds.forEach((kind, row) => context.fillText(kind, 0, row * ROW + ROW / 2, LABELS - 6));
    const every = [1, 2, 5, 10, 20, 50].find((n) => n * this.column >= 26) ?? 100;
    context.textAlign = "center";
    layers.forEach((layer, i) => {
      if (i % every === 0) context.fillText(String(layer), LABELS + (i + 0.5) * this.column, kinds.length * ROW + AXIS / 2);
    });
    context.textAlign = "left";
    const gap = this.column > 12 ? 2 : 1;
    for (const [place, p] of this.cells) {
      const [i, row] = place.split(" ").map(Number);
      const x = LABELS + i * this.column;
      const top = row * ROW + 4;
      const w = this.column - gap;
      const h = ROW - 8;
      context.fillStyle = ground;
      context.fillRect(x, top, w, h);
      const cell = decided?.get(p.name);
      if (cell) {
        const share = cell.rank === null ? 1 : Math.min(cell.rank / cell.full, 1);
        context.fillStyle = COLOURS[cell.format];
        context.fillRect(x, top + h * (1 - share), w, h * share);
      }
      const breakEven = maxUsefulRank("low-rank", p.inFeatures, p.outFeatures) / Math.min(p.inFeatures, p.outFeatures);
      context.fillStyle = text;
      context.globalAlpha = 0.7;
      context.fillRect(x, Math.round(top + h * (1 - breakEven)), w, 1);
      context.globalAlpha = 1;
      if (p.name in held) outline(context, accent, x + 1, top + 1, w - 2, h - 2, 2);
      if (p.name === hovered) outline(context, text, x, top, w, h, 1);
      if (p.name === selected) outline(context, text, x - 1, top - 2, w + 2, h + 4, 2);
    }
  }
}

function outline(context, colour, x, y, w, h, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.strokeRect(x, y, w, h);
}
