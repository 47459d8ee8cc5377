import { megabytes } from "../../rank_board/board/text.js";
import { outline } from "./symbols.js";
import { kept, times } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const [LEFT, RIGHT, TOP, BOTTOM, HEIGHT] = [52, 12, 10, 40, 254];
const TICKS = [1, 1.05, 1.1, 1.2, 1.5, 2, 3, 4, 10, 30, 100, 1000];
const NEAR = 14;

/** Quality against size: predicted lines, measured points, and the chosen size, which can be dragged. */
export class QualityChart {
  constructor(find, choose) {
    Object.assign(this, { find, choose, holder: find(".ov-chart"), tip: find(".ov-tip"), isWhole: false });
    this.svg = this.add("svg", {}, this.holder);
    this.svg.setAttribute("role", "img");
    find(".ov-whole").addEventListener("click", () => {
      this.isWhole = !this.isWhole;
      this.draw();
    });
    this.svg.addEventListener("pointerdown", (event) => {
      this.svg.setPointerCapture(event.pointerId);
      this.isHeld = true;
      this.choose(this.keptAt(event), false);
    });
    this.svg.addEventListener("pointermove", (event) => (this.isHeld ? this.choose(this.keptAt(event), false) : this.hover(event)));
    this.svg.addEventListener("pointerup", (event) => {
      if (this.isHeld) this.choose(this.keptAt(event), true);
      this.isHeld = false;
    });
    this.svg.addEventListener("pointercancel", () => (this.isHeld = false));
    this.svg.addEventListener("pointerleave", () => (this.tip.hidden = true));
    new ResizeObserver(() => this.draw()).observe(this.holder);
  }

  learn(data) {
    this.data = data;
    this.svg.setAttribute("aria-label", "Perplexity over dense against size: predicted lines and measured points; the table below has the numbers");
    this.draw();
  }

  draw() {
    if (!this.data) return;
    this.width = Math.max(this.holder.clientWidth, 320);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.style.height = `${HEIGHT}px`;
    this.svg.replaceChildren();
    this.scale();
    this.drawAxes();
    this.text("Perplexity ÷ dense: lower is better", LEFT + 6, TOP + 14, "start");
    const clip = this.add("clipPath", { id: "ov-clip" }, this.svg);
    this.add("rect", { x: LEFT, y: TOP, width: this.width - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM }, clip);
    const inside = this.add("g", { "clip-path": "url(#ov-clip)" }, this.svg);
    this.band = this.add("path", { class: "ov-band" }, inside);
    for (const line of this.data.lines) this.drawLine(line, inside);
    this.marker = this.add("line", { class: "ov-marker", y1: TOP, y2: HEIGHT - BOTTOM }, this.svg);
    for (const point of this.points()) this.drawPoint(point, inside);
    this.dot = this.add("circle", { class: "ov-dot", r: 7 }, this.svg);
    if (this.shown) this.mark(...this.shown);
  }

  points() {
    const dense = { title: "Dense model", kept: 1, ratio: 1, color: this.data.neutral, symbol: "hexagon2" };
    return [dense, ...this.data.measured];
  }

  scale() {
    const ratios = this.data.measured.map(({ ratio }) => ratio);
    const drawn = [...ratios, ...this.data.lines.flatMap(({ points }) => points.map(([, ratio]) => ratio))];
    const above = ratios.filter((ratio) => ratio > this.data.most).length;
    const largest = Math.max(1.2, ...drawn);
    this.high = Math.min(largest * 1.05, this.isWhole ? 2000 : this.data.most);
    this.low = Math.min(1, ...ratios) / this.high ** 0.04;
    const button = this.find(".ov-whole");
    button.hidden = largest <= this.data.most;
    const hidden = above ? ` (${above} measured above ${this.data.most} ×)` : "";
    button.textContent = this.isWhole ? `Up to ${this.data.most} ×` : `Show everything${hidden}`;
  }

  x(keptFraction) {
    const [from, to] = this.data.range;
    return LEFT + ((keptFraction - from) / (to - from)) * (this.width - LEFT - RIGHT - 12);
  }

  y(ratio) {
    const place = Math.log(Math.min(Math.max(ratio, 1e-3), 1e6) / this.low) / Math.log(this.high / this.low);
    return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM);
  }

  keptAt({ clientX }) {
    const [from, to] = this.data.range;
    const at = (clientX - this.svg.getBoundingClientRect().left - LEFT) / (this.width - LEFT - RIGHT - 12);
    return from + at * (to - from);
  }

  drawAxes() {
    let last = Infinity;
    for (const tick of TICKS.filter((one) => one <= this.high * 1.001)) {
      const y = this.y(tick);
      if (last - y < 22) continue;
      last = y;
      this.add("line", { class: tick === 1 ? "ov-grid ov-one" : "ov-grid", x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y }, this.svg);
      this.text(`${tick} ×`, LEFT - 8, y + 4, "end");
    }
    const [from, to] = this.data.range;
    const step = this.width > 700 ? 0.1 : 0.2;
    for (let fraction = to; fraction >= from - 1e-9; fraction -= step) {
      const params = this.data.total - this.data.compressible * (1 - fraction);
      this.text(megabytes(params * this.data.bytes_per_param), this.x(fraction), HEIGHT - BOTTOM + 16, fraction === to ? "end" : "middle");
      this.text(kept(fraction).replace(".0 %", " %"), this.x(fraction), HEIGHT - BOTTOM + 31, fraction === to ? "end" : "middle");
    }
  }

  drawLine({ points, color, dash }, into) {
    const places = points.map(([fraction, ratio]) => `${this.x(fraction)} ${this.y(ratio)}`);
    this.add("path", { class: "ov-line", d: `M${places.join("L")}`, stroke: color, "stroke-dasharray": dash }, into);
  }

  drawPoint({ kept: fraction, ratio, color, symbol }, into) {
    const place = `translate(${this.x(fraction)} ${this.y(ratio)})`;
    this.add("path", { class: "ov-point", d: outline(symbol, 5.5), fill: color, transform: place }, into);
  }

  /** Draw where the chosen size is and what it does, with the interval of its method's line. */
  mark(keptFraction, outcome) {
    this.shown = [keptFraction, outcome];
    if (!this.marker) return;
    const x = this.x(keptFraction);
    this.marker.setAttribute("x1", x);
    this.marker.setAttribute("x2", x);
    this.dot.style.display = outcome ? "" : "none";
    this.band.style.display = outcome ? "" : "none";
    if (!outcome) return;
    const line = this.data.lines.find(({ title }) => title === outcome.title);
    const ratio = outcome.measured ? outcome.measured.ratio : outcome.predicted[0];
    this.dot.setAttribute("cx", this.x(outcome.kept));
    this.dot.setAttribute("cy", Math.min(Math.max(this.y(ratio), TOP), HEIGHT - BOTTOM));
    this.band.style.display = line ? "" : "none";
    if (!line) return;
    const there = line.points.map(([fraction, , , high]) => `${this.x(fraction)} ${this.y(high)}`);
    const back = line.points.map(([fraction, , low]) => `${this.x(fraction)} ${this.y(low)}`).reverse();
    this.band.setAttribute("d", `M${[...there, ...back].join("L")}Z`);
    this.band.setAttribute("fill", line.color);
    this.dot.setAttribute("stroke", line.color);
  }

  /** Say what the measured point under the pointer is. */
  hover({ clientX, clientY }) {
    const box = this.svg.getBoundingClientRect();
    const away = ({ kept: fraction, ratio }) =>
      Math.hypot(this.x(fraction) - (clientX - box.left), this.y(ratio) - (clientY - box.top));
    const nearest = this.points().reduce((a, b) => (away(b) < away(a) ? b : a));
    this.tip.hidden = away(nearest) > NEAR;
    if (this.tip.hidden) return;
    const how = nearest.params === undefined ? "" : ", measured";
    this.tip.textContent = `${nearest.title}, ${kept(nearest.kept)}: ${times(nearest.ratio)}${how}`;
    const x = this.x(nearest.kept);
    this.tip.style.left = `${Math.min(x, this.width - 220)}px`;
    this.tip.style.top = `${Math.max(this.y(nearest.ratio) - 34, 0)}px`;
  }

  add(name, attributes, into) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return into.appendChild(element);
  }

  text(content, x, y, anchor) {
    this.add("text", { class: "ov-text", x, y, "text-anchor": anchor }, this.svg).textContent = content;
  }
}

/** Say which line and which marker is whose. */
export function showChartLegend(holder, { lines, measured }) {
  const drawn = new Set(lines.map(({ title }) => title));
  const others = measured.filter(({ title }) => !drawn.has(title));
  const symbols = new Map([...lines, ...others].map((one) => [one.title, one]));
  holder.replaceChildren(
    ...[...symbols.values()].map(({ title, color, dash, symbol }) => {
      const item = document.createElement("span");
      const mark = document.createElementNS(SVG, "svg");
      mark.setAttribute("viewBox", "0 -7 34 14");
      const line = dash === undefined ? "" : `<path d="M0 0H34" stroke="${color}" stroke-width="2" stroke-dasharray="${dash}"/>`;
      mark.innerHTML = `${line}<path d="${outline(symbol, 5)}" transform="translate(17 0)" fill="${color}"/>`;
      item.append(mark, title);
      return item;
    }),
  );
}
