import { NoAllocation } from "./blocks.js";
import { BudgetControl } from "./budget.js";
import { MethodCards } from "./cards.js";
import { History, same } from "./history.js";
import { listenToKeys } from "./keys.js";
import { COLOURS, RankMap } from "./map.js";
import { Methods, locksFor } from "./methods.js";
import { MapPointer } from "./pointer.js";
import { Reporter } from "./reporter.js";
import { shelf } from "./shelf.js";
import { describe } from "./status.js";
import { Toolbar } from "./tools.js";

const sorted = (held) => Object.fromEntries(Object.entries(held).sort(([a], [b]) => (a < b ? -1 : 1)));

class Board {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.selected = null;
    this.hovered = null;
    this.revision = -1;
    this.history = new History();
    this.reporter = new Reporter(this);
    this.budgetControl = new BudgetControl(this);
    this.cards = new MethodCards(this);
    this.tools = new Toolbar(this);
    this.pointer = new MapPointer(this);
    listenToKeys(this);
    new ResizeObserver(() => this.state && this.schedule()).observe(this.find(".rb-map"));
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
      this.history.clear();
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
      this.cards.build();
    }
    if (isNew) this.learnProjections();
    this.showLegend();
    this.takeOver(isNew);
    this.root.dataset.ready = "true";
    this.render();
    this.compareWithPython();
  }

  learnProjections() {
    this.projections = new Map();
    const first = Object.values(this.curves.metrics)[0];
    const curves = new Map(first.flatMap((group) => group.separate.map((curve) => [curve.members[0], curve])));
    for (const [name, layer, kind] of this.data.projections) {
      const { inFeatures, outFeatures } = curves.get(name);
      this.projections.set(name, { name, layer, kind, inFeatures, outFeatures });
    }
    this.curveOf = new Map();
    for (const [metric, groups] of Object.entries(this.curves.metrics)) {
      for (const { separate, shared } of groups) {
        for (const curve of shared ? [...separate, shared] : separate) {
          this.curveOf.set(`${metric} ${curve.members.join("+")}`, curve);
        }
      }
    }
    this.map = new RankMap(this.find(".rb-canvas"), [...this.projections.values()]);
    this.selected = null;
  }

  /** Take over Python's state, but not an answer to an older state than the one shown: a newer is on its way. */
  takeOver(isNew) {
    const { keep, method, held, revision } = this.data.state;
    if (revision < this.revision) return;
    const theirs = { keep, method, held: sorted(held) };
    if (this.state && !isNew && !same(theirs, this.state)) this.history.remember(this.settled);
    this.state = theirs;
    this.settled = theirs;
    this.revision = revision;
  }

  compareWithPython() {
    const { confirmed, state, methods } = this.data;
    if (state.revision !== this.revision || !same(this.settled, this.state)) return;
    const differing = methods.filter(
      ({ name }) => (this.plans.get(name)?.params ?? null) !== (confirmed[name]?.params ?? null),
    );
    this.root.dataset.confirmedRevision = String(state.revision);
    this.root.dataset.differing = differing.map(({ name }) => name).join(" ");
  }

  // ---- computing and drawing ----

  get budget() {
    return Math.floor(this.state.keep * this.data.compressible);
  }

  get bytesPerParam() {
    return Number(this.budgetControl.dtype.value);
  }

  compute() {
    this.plans = new Map();
    this.reasons = new Map();
    for (const method of this.data.methods) {
      try {
        const held = locksFor(method, this.state.held, (name) => this.projections.get(name));
        this.plans.set(method.name, method.fixed ?? this.methods.allocate(method, this.budget, held));
      } catch (error) {
        if (!(error instanceof NoAllocation)) throw error;
        this.reasons.set(method.name, error.message);
      }
    }
    this.decided = this.decisions();
  }

  decisions() {
    const plan = this.plans.get(this.state.method);
    if (!plan) return null;
    const { metric } = this.data.methods.find(({ name }) => name === this.state.method);
    const decided = new Map();
    for (const { members, format, rank } of plan.blocks) {
      const curve = this.curveOf.get(`${metric} ${members.join("+")}`);
      const full = Math.min(curve.inFeatures, curve.outFeatures);
      for (const name of members) decided.set(name, { format, rank, full, members, curve });
    }
    return decided;
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
    this.budgetControl.show();
    this.cards.show();
    this.drawMap();
    this.tools.show();
    const { keep, method, held } = this.state;
    Object.assign(this.root.dataset, {
      keptFraction: String(keep),
      budget: String(this.budget),
      method,
      held: JSON.stringify(held),
    });
  }

  drawMap() {
    this.map.draw(this.decided, this.state.held, this.selected, this.hovered);
    this.find(".rb-status").textContent = describe(this, this.hovered ?? this.selected);
  }

  showLegend() {
    const signs = Object.entries(COLOURS).map(([format, colour]) => [`<i style="background:${colour}"></i>`, format]);
    signs.push(['<i class="rb-mark"></i>', "above this line low-rank saves nothing"], ['<i class="rb-held"></i>', "held"]);
    this.find(".rb-legend").innerHTML =
      `<span>Height: kept rank, as a fraction of the full rank.</span>${signs.map(([sign, text]) => `<span>${sign}${text}</span>`).join("")}`;
    this.find(".rb-basis").textContent = this.data.basis;
  }

  fullRank(name) {
    const { inFeatures, outFeatures } = this.projections.get(name);
    return Math.min(inFeatures, outFeatures);
  }

  rankOf(name) {
    return this.state.held[name] ?? this.decided?.get(name)?.rank ?? this.fullRank(name);
  }

  // ---- changing ----

  /** Change what is shown now; `commit` then remembers and reports it. */
  preview(changes) {
    this.state = { ...this.state, ...changes, held: sorted(changes.held ?? this.state.held) };
    this.schedule();
  }

  commit() {
    if (same(this.settled, this.state)) return;
    this.history.remember(this.settled);
    this.settle();
  }

  change(changes) {
    this.preview(changes);
    this.commit();
  }

  settle() {
    this.settled = this.state;
    this.revision += 1;
    this.schedule();
    this.reporter.send({ ...this.state, revision: this.revision });
  }

  hold(name, rank) {
    const snapped = Math.max(Math.round(rank / this.curves.rankStep), 1) * this.curves.rankStep;
    this.preview({ held: { ...this.state.held, [name]: Math.min(Math.max(snapped, 1), this.fullRank(name)) } });
  }

  do(what) {
    if (what === "undo" || what === "redo") {
      const state = this.history.step(what === "undo", this.settled);
      if (!state) return;
      this.state = state;
      this.settle();
      return;
    }
    const name = this.selected;
    const { held } = this.state;
    if (what === "release") this.preview({ held: {} });
    else if (name === null) return;
    else if (what === "dense") this.hold(name, this.fullRank(name));
    else if (what === "hold" && name in held) {
      const { [name]: _, ...others } = held;
      this.preview({ held: others });
    } else if (what === "hold") this.hold(name, this.rankOf(name));
    this.commit();
  }

  select(name) {
    this.selected = name;
    this.schedule();
  }

  hover(name) {
    if (name === this.hovered) return;
    this.hovered = name;
    if (this.decided !== undefined) this.drawMap();
  }
}

const boards = new WeakMap();

export default function show({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".rb-root");
  if (!boards.has(root)) boards.set(root, new Board(root));
  boards.get(root).update(data, (state) => setStateValue("board", state));
}
