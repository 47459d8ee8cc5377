import { Methods, NoAllocation, locksFor, maxUsefulRank } from "./allocators.js";
import { predictPerplexity } from "./prediction.js";
import { shelf } from "./shelf.js";
import { COLOURS, RankMap } from "./map.js";

const PRESETS = [0.9, 0.8, 0.7, 0.6, 0.5];
const INDEX_BYTES = 4;
const MOST_STEPS = 200;
const PAUSE_MS = 250;

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const sorted = (held) => Object.fromEntries(Object.entries(held).sort(([a], [b]) => (a < b ? -1 : 1)));

function short(value) {
  for (const [size, unit] of [[1e9, " B"], [1e6, " M"], [1e3, " k"]]) {
    if (value >= size) return `${Number((value / size).toPrecision(4))}${unit}`;
  }
  return String(value);
}

const megabytes = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toPrecision(4)} MB`);
const number = (value) => (value < 1e4 ? value.toFixed(2) : value < 1e9 ? value.toExponential(1) : "beyond use");

class Board {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.undoable = [];
    this.redoable = [];
    this.selected = null;
    this.hovered = null;
    this.revision = -1;
    this.listen();
  }

  // ---- what Python says ----

  async update(data, report) {
    this.report = report;
    this.data = data;
    const isNew = this.curves?.name !== data.curves;
    if (isNew) {
      this.curves = await shelf(data.curves).promise;
      if (this.data.curves !== this.curves.name) return;
      this.revision = -1;
      this.undoable = [];
      this.redoable = [];
    }
    this.start(isNew);
  }

  start(isNew) {
    const { data } = this;
    const key = JSON.stringify([data.methods, data.evaluated]);
    if (isNew || this.methodsKey !== key) {
      const before = isNew ? null : this.methods;
      this.methods = new Methods(data.methods, this.curves, data.evaluated);
      if (before) this.methods.frontiers = before.frontiers;
      this.methodsKey = key;
      this.buildCards();
    }
    if (isNew) {
      this.projections = new Map();
      const loss = Object.values(this.curves.metrics)[0];
      const curves = new Map(loss.flatMap((group) => group.separate.map((curve) => [curve.members[0], curve])));
      for (const [name, layer, kind] of data.projections) {
        const { inFeatures, outFeatures } = curves.get(name);
        this.projections.set(name, { name, layer, kind, inFeatures, outFeatures });
      }
      this.groupOf = new Map();
      for (const [metric, groups] of Object.entries(this.curves.metrics)) {
        for (const group of groups) {
          for (const curve of [...group.separate, group.shared]) {
            if (curve) this.groupOf.set(`${metric} ${curve.members.join("+")}`, curve);
          }
        }
      }
      this.map = new RankMap(this.find(".rb-canvas"), [...this.projections.values()]);
      this.selected = null;
    }
    // An answer to an older state than the one shown is not taken over; a newer one is on its way.
    if (data.state.revision >= this.revision) {
      const { keep, method, held, revision } = data.state;
      const theirs = { keep, method, held: sorted(held) };
      if (this.state && !isNew && !same(theirs, this.state)) this.remember();
      this.state = theirs;
      this.settled = theirs;
      this.revision = revision;
    }
    this.root.dataset.ready = "true";
    this.render();
    this.compareWithPython();
  }

  compareWithPython() {
    const { confirmed, state } = this.data;
    if (state.revision !== this.revision || !same(this.settled, this.state)) return;
    const differing = this.data.methods.filter(({ name }) => {
      const mine = this.plans.get(name);
      const theirs = confirmed[name];
      return (mine?.params ?? null) !== (theirs?.params ?? null);
    });
    this.root.dataset.confirmedRevision = String(state.revision);
    this.root.dataset.differing = differing.map(({ name }) => name).join(" ");
  }

  // ---- computing and drawing ----

  get budget() {
    return Math.floor(this.state.keep * this.data.compressible);
  }

  compute() {
    const curveOf = (name) => this.projections.get(name);
    this.plans = new Map();
    this.reasons = new Map();
    for (const method of this.data.methods) {
      try {
        const held = locksFor(method, this.state.held, curveOf);
        this.plans.set(method.name, method.fixed ?? this.methods.allocate(method, this.budget, held));
      } catch (error) {
        if (!(error instanceof NoAllocation)) throw error;
        this.reasons.set(method.name, error.message);
      }
    }
  }

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.render();
    });
  }

  render() {
    this.compute();
    this.showBudget();
    for (const method of this.data.methods) this.showCard(method);
    this.decided = this.decisions();
    this.drawMap();
    this.showTools();
  }

  drawMap() {
    this.map.draw(this.decided, this.state.held, this.selected, this.hovered);
    this.find(".rb-status").textContent = this.describe(this.hovered ?? this.selected);
  }

  showBudget() {
    const { keep } = this.state;
    const { compressible, total } = this.data;
    const width = Number(this.find(".rb-dtype").value);
    const percent = `${(keep * 100).toFixed(1)} %`;
    const size = (total - compressible + this.budget) * width;
    const slider = this.find(".rb-keep");
    if (Number(slider.value) !== keep) slider.value = String(keep);
    slider.setAttribute("aria-valuetext", `${percent} kept, ${short(this.budget)} parameters, ${megabytes(size)}`);
    slider.dataset.keptFraction = String(keep);
    for (const [selector, value] of [[".rb-percent", (keep * 100).toFixed(1)], [".rb-mb", (size / 1e6).toFixed(1)]]) {
      const field = this.find(selector);
      if (document.activeElement !== field) field.value = value;
    }
    Object.assign(this.root.dataset, { keptFraction: String(keep), budget: String(this.budget), method: this.state.method });
    this.root.dataset.held = JSON.stringify(this.state.held);
  }

  buildCards() {
    const holder = this.find(".rb-cards");
    holder.replaceChildren();
    for (const { name, title } of this.data.methods) {
      const card = document.createElement("button");
      card.type = "button";
      card.className = "rb-card";
      card.setAttribute("role", "radio");
      Object.assign(card.dataset, { testid: "method-card", method: name });
      for (const [tag, kind] of [["b", ""], ["span", "rb-big"], ["small", "rb-range"], ["small", "rb-cost"], ["small", "rb-more"]]) {
        const part = document.createElement(tag);
        part.className = kind;
        card.append(part);
      }
      card.firstChild.textContent = title;
      card.addEventListener("click", () => this.change({ method: name }));
      holder.append(card);
    }
    const presets = this.find(".rb-presets");
    presets.replaceChildren();
    for (const keep of PRESETS) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", className: "rb-button", textContent: `${keep * 100} %` });
      button.addEventListener("click", () => this.change({ keep }));
      presets.append(button);
    }
    const legend = Object.entries(COLOURS).map(([format, colour]) => [`<i style="background:${colour}"></i>`, format]);
    legend.push(['<i class="rb-mark"></i>', "above this line low-rank saves nothing"], ['<i class="rb-held"></i>', "held"]);
    this.find(".rb-legend").innerHTML =
      `<span>Height: kept rank, as a fraction of the full rank.</span>${legend.map(([sign, text]) => `<span>${sign}${text}</span>`).join("")}`;
    this.find(".rb-basis").textContent = this.data.basis;
  }

  showCard({ name, metric }) {
    const card = this.find(`.rb-card[data-method="${name}"]`);
    const part = (kind) => card.querySelector(`.${kind}`);
    const active = name === this.state.method;
    card.setAttribute("aria-checked", String(active));
    const plan = this.plans.get(name);
    const set = (attribute, value) => (card.dataset[attribute] = value);
    if (!plan) {
      for (const attribute of ["keptFraction", "params", "predictedPerplexity", "nats"]) set(attribute, "");
      part("rb-big").textContent = "–";
      part("rb-range").textContent = this.reasons.get(name);
      part("rb-cost").textContent = "";
      part("rb-more").textContent = "";
      return;
    }
    const { compressible, total, predictor, dense_perplexity: dense } = this.data;
    const [predicted, low, high] = predictPerplexity(predictor, metric, plan.nats, dense);
    const kept = plan.params / compressible;
    const bytes = (total - compressible + plan.params) * Number(this.find(".rb-dtype").value) + this.indexBytes(plan);
    set("keptFraction", String(kept));
    set("params", String(plan.params));
    set("predictedPerplexity", String(predicted));
    set("nats", String(plan.nats));
    const measured = this.data.measured.find(
      (run) => run.metric === metric && run.params === plan.params && Math.abs(run.nats - plan.nats) <= 1e-6 * run.nats,
    );
    part("rb-big").textContent = number(predicted);
    part("rb-range").textContent = `predicted perplexity, ${number(low)} to ${number(high)}`;
    part("rb-cost").textContent = `${(kept * 100).toFixed(2)} % kept · ${megabytes(bytes)}`;
    part("rb-more").textContent =
      `${short(plan.params)} parameters and multiply–adds per token` + (measured ? ` · measured ${measured.perplexity.toFixed(2)}` : "");
  }

  indexBytes(plan) {
    const indexed = plan.blocks.filter(({ format }) => format.startsWith("skip"));
    return indexed.reduce((sum, { members }) => sum + this.projections.get(members[0]).inFeatures * INDEX_BYTES, 0);
  }

  decisions() {
    const plan = this.plans.get(this.state.method);
    if (!plan) return null;
    const { metric } = this.data.methods.find(({ name }) => name === this.state.method);
    const decided = new Map();
    for (const { members, format, rank } of plan.blocks) {
      const curve = this.groupOf.get(`${metric} ${members.join("+")}`);
      const full = Math.min(curve.inFeatures, curve.outFeatures);
      for (const name of members) decided.set(name, { format, rank, full, members, curve });
    }
    return decided;
  }

  describe(name) {
    if (name === null) return "Drag a bar to hold its rank; double-click it to keep it dense. Everything else gives way.";
    const { layer, kind } = this.projections.get(name);
    const cell = this.decided?.get(name);
    const held = name in this.state.held ? ", held" : "";
    if (!cell) return `Layer ${layer}, ${kind}: no map${held}`;
    if (cell.rank === null) return `Layer ${layer}, ${kind}: dense${held}, no predicted loss`;
    const { curve, rank, full, format, members } = cell;
    const cost = rank * (curve.inFeatures + curve.outFeatures) - (format.startsWith("skip") ? rank * rank : 0);
    const others = members.filter((member) => member !== name).map((member) => this.projections.get(member).kind);
    const shared = others.length ? ` shared with ${others.join(", ")}` : "";
    const share = ((cost / (curve.inFeatures * curve.outFeatures)) * 100).toFixed(1);
    const nats = curve.natsAt(rank).toPrecision(3);
    return `Layer ${layer}, ${kind}: rank ${rank} of ${full}, ${format}${shared}${held}; ${share} % of its parameters, ${nats} nats predicted`;
  }

  showTools() {
    const name = this.selected;
    const cell = name === null ? null : this.decided?.get(name);
    const p = name === null ? null : this.projections.get(name);
    this.find(".rb-selected").textContent = p ? `Layer ${p.layer}, ${p.kind}` : "Select a projection in the map";
    const rank = this.find(".rb-rank");
    rank.disabled = p === null;
    if (p && document.activeElement !== rank) rank.value = String(this.rankOf(name));
    if (p) rank.max = String(this.fullRank(name));
    const held = p !== null && name in this.state.held;
    for (const button of this.root.querySelectorAll("[data-do]")) {
      const does = button.dataset.do;
      if (does === "hold" || does === "dense") button.disabled = p === null || (!cell && !held);
      if (does === "undo") button.disabled = !this.undoable.length;
      if (does === "redo") button.disabled = !this.redoable.length;
      if (does === "release") button.disabled = !Object.keys(this.state.held).length;
    }
    const hold = this.find('[data-do="hold"]');
    hold.setAttribute("aria-pressed", String(held));
    hold.textContent = held ? "Release" : "Hold";
    this.root.dataset.selected = name ?? "";
  }

  fullRank(name) {
    const { inFeatures, outFeatures } = this.projections.get(name);
    return Math.min(inFeatures, outFeatures);
  }

  rankOf(name) {
    return this.state.held[name] ?? this.decided?.get(name)?.rank ?? this.fullRank(name);
  }

  // ---- changing ----

  snapshot() {
    return { ...this.state, held: { ...this.state.held } };
  }

  remember() {
    this.undoable.push(this.settled ?? this.snapshot());
    if (this.undoable.length > MOST_STEPS) this.undoable.shift();
    this.redoable = [];
  }

  /** Change what is shown now; `commit` then remembers and reports it. */
  preview(changes) {
    this.state = { ...this.state, ...changes, held: sorted(changes.held ?? this.state.held) };
    this.schedule();
  }

  change(changes) {
    this.preview(changes);
    this.commit();
  }

  commit() {
    if (same(this.settled, this.state)) return;
    this.remember();
    this.send();
  }

  send() {
    this.settled = this.snapshot();
    this.revision += 1;
    const revision = this.revision;
    this.schedule();
    // Keys repeat: report once they rest.
    clearTimeout(this.waiting);
    this.unsent = { ...this.settled, revision };
    this.waiting = setTimeout(() => this.flush(), this.quick ? 0 : PAUSE_MS);
    this.quick = false;
  }

  flush() {
    clearTimeout(this.waiting);
    if (this.unsent && this.root.isConnected) this.report(this.unsent);
    this.unsent = null;
  }

  hold(name, rank) {
    const snapped = Math.max(Math.round(rank / this.curves.rankStep), 1) * this.curves.rankStep;
    this.preview({ held: { ...this.state.held, [name]: Math.min(Math.max(snapped, 1), this.fullRank(name)) } });
  }

  step(from, to) {
    if (!from.length) return;
    to.push(this.snapshot());
    this.state = from.pop();
    this.send();
  }

  do(what) {
    const name = this.selected;
    const { held } = this.state;
    if (what === "undo") this.step(this.undoable, this.redoable);
    if (what === "redo") this.step(this.redoable, this.undoable);
    if (what === "release") this.change({ held: {} });
    if (name === null) return;
    if (what === "dense") this.hold(name, this.fullRank(name));
    if (what === "hold") {
      if (name in held) {
        const { [name]: _, ...others } = held;
        this.preview({ held: others });
      } else this.hold(name, this.rankOf(name));
    }
    this.commit();
  }

  select(name) {
    this.selected = name;
    this.schedule();
  }

  // ---- listening ----

  listen() {
    const keep = this.find(".rb-keep");
    keep.addEventListener("input", () => this.preview({ keep: Number(keep.value) }));
    keep.addEventListener("change", () => this.commit());
    keep.addEventListener("pointerup", () => (this.quick = true));
    this.find(".rb-percent").addEventListener("change", (event) => this.typedKeep(Number(event.target.value) / 100));
    this.find(".rb-mb").addEventListener("change", (event) => {
      const params = (Number(event.target.value) * 1e6) / Number(this.find(".rb-dtype").value);
      this.typedKeep((params - (this.data.total - this.data.compressible)) / this.data.compressible);
    });
    this.find(".rb-dtype").addEventListener("change", () => this.schedule());
    this.find(".rb-rank").addEventListener("change", (event) => {
      if (this.selected === null || !(Number(event.target.value) >= 1)) return;
      this.hold(this.selected, Number(event.target.value));
      this.commit();
    });
    for (const button of this.root.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => {
        this.quick = true;
        this.do(button.dataset.do);
        this.quick = false;
      });
    }
    this.listenToMap();
    this.root.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || !this.state) return;
      event.preventDefault();
      this.do(event.shiftKey ? "redo" : "undo");
    });
    this.find(".rb-cards").addEventListener("keydown", (event) => {
      const cards = [...this.root.querySelectorAll(".rb-card")];
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      cards[(cards.indexOf(document.activeElement) + step + cards.length) % cards.length]?.focus();
    });
    // What is pressed elsewhere on the page comes after what was done here.
    this.root.addEventListener("focusout", () => this.flush());
    this.root.addEventListener("pointerleave", () => this.flush());
    new ResizeObserver(() => this.state && this.schedule()).observe(this.find(".rb-map"));
  }

  typedKeep(keep) {
    if (!Number.isFinite(keep)) return;
    this.change({ keep: Math.min(Math.max(keep, 0.1), 1) });
  }

  listenToMap() {
    const canvas = this.find(".rb-canvas");
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    let grip = null;
    canvas.addEventListener("pointerdown", (event) => {
      const [x, y] = place(event);
      const cell = this.map?.at(x, y);
      if (!cell || event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      grip = { name: cell.name, y, moved: false };
      this.select(cell.name);
    });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = place(event);
      if (!grip) {
        const hovered = this.map?.at(x, y)?.name ?? null;
        if (hovered === this.hovered) return;
        this.hovered = hovered;
        if (this.decided !== undefined) this.drawMap();
        return;
      }
      if (!grip.moved && Math.abs(y - grip.y) < 4) return;
      grip.moved = true;
      this.hold(grip.name, this.map.heightAt(grip.name, y) * this.fullRank(grip.name));
    });
    const release = () => {
      if (grip?.moved) {
        this.quick = true;
        this.commit();
      }
      grip = null;
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", () => {
      this.hovered = null;
      if (this.decided !== undefined) this.drawMap();
    });
    canvas.addEventListener("dblclick", () => this.do("dense"));
    this.find(".rb-map").addEventListener("keydown", (event) => this.pressed(event));
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || !this.map) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const name = this.selected;
    const change = { "+": 1, "=": 1, "*": 16, "-": -1, _: -16 }[event.key];
    if (moves[event.key]) {
      const next = name === null ? this.map.first : this.map.neighbour(name, ...moves[event.key]);
      if (next) this.select(next.name);
      this.hovered = null;
    } else if (change && name !== null) {
      const steps = event.shiftKey ? 16 * Math.sign(change) : change;
      this.hold(name, this.rankOf(name) + steps * this.curves.rankStep);
      this.commit();
    } else if (event.key.toLowerCase() === "l" || event.key === " ") this.do("hold");
    else if (event.key.toLowerCase() === "d") this.do("dense");
    else return;
    event.preventDefault();
  }
}

const boards = new WeakMap();

export default function show({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".rb-root");
  if (!boards.has(root)) boards.set(root, new Board(root));
  boards.get(root).update(data, (state) => setStateValue("board", state));
}
