import { selectedInAddress, selectInAddress } from "./address.js";
import { BudgetControl } from "./budget.js";
import { MethodCards } from "./cards.js";
import { compare, compareInWords } from "./difference.js";
import { History, same } from "./history.js";
import { listenToKeys } from "./keys.js";
import { showLegend } from "./legend.js";
import { RankMap } from "./map.js";
import { Planner } from "../port/planner.js";
import { MapPointer } from "./pointer.js";
import { Reporter } from "./reporter.js";
import { buildRows } from "./rows.js";
import { Selection } from "./selection.js";
import { shelf } from "./shelf.js";
import { SpeedControl } from "./speed_control.js";
import { describe, sayChange } from "./status.js";
import { Tip } from "./tip.js";
import { Toolbar } from "./tools.js";

const sorted = (held) => Object.fromEntries(Object.entries(held).sort(([a], [b]) => (a < b ? -1 : 1)));

class Board {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.hovered = null;
    this.revision = -1;
    this.history = new History();
    this.selection = new Selection();
    this.reporter = new Reporter(this);
    this.budgetControl = new BudgetControl(this);
    this.speedControl = new SpeedControl(this);
    this.cards = new MethodCards(this);
    this.tools = new Toolbar(this);
    this.pointer = new MapPointer(this);
    this.tip = new Tip(this);
    listenToKeys(this);
    new ResizeObserver(() => {
      if (!this.map) return;
      this.map.readSize();
      this.schedule();
    }).observe(this.find(".rb-scroll"));
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
      this.learnProjections();
    }
    this.planner.learn(this.data);
    this.planned = null;
    const offered = JSON.stringify([this.data.methods, this.data.saved]);
    if (isNew || this.offered !== offered) {
      this.offered = offered;
      this.budgetControl.build();
      this.cards.build();
      this.tools.build();
    }
    this.speedControl.build();
    const basis = this.find(".rb-basis");
    basis.textContent = basis.title = this.data.basis;
    this.takeOver(isNew);
    this.root.dataset.ready = "true";
    this.render();
    this.compareWithPython();
  }

  learnProjections() {
    this.projections = new Map();
    const first = Object.values(this.curves.metrics)[0];
    const curves = new Map(first.flatMap((group) => group.separate.map((curve) => [curve.members[0], curve])));
    for (const [place, [name, layer, kind, active]] of this.data.projections.entries()) {
      const { inFeatures, outFeatures, matrices } = curves.get(name);
      this.projections.set(name, { name, place, layer, kind, inFeatures, outFeatures, matrices, active });
    }
    this.planner = new Planner(this.curves, this.projections);
    this.map = new RankMap(this.find(".rb-canvas"), [...this.projections.values()]);
    this.selection.set(selectedInAddress(this.projections));
    buildRows(this);
  }

  /** Take over Python's state, but not an answer to an older state than the one shown: a newer is on its way. */
  takeOver(isNew) {
    const { keep, target, time, method, dtype, held, base, compare: other, revision } = this.data.state;
    if (revision < this.revision) return;
    const fixed = base && { keep: base.keep, target: base.target, time: base.time, held: sorted(base.held) };
    const theirs = { keep, target, time, method, dtype, held: sorted(held), base: fixed, compare: other };
    this.revision = revision;
    if (!isNew && same(theirs, this.state)) return;
    if (!isNew) this.history.remember(this.settled);
    this.state = theirs;
    this.settled = theirs;
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

  // ---- what is shown ----

  get budget() {
    return Math.floor(this.state.keep * this.data.compressible);
  }

  /** How numbers are stored that sizes are given for. */
  get numberType() {
    return this.data.constants.number_types[this.state.dtype];
  }

  /** Whether Python has yet to answer to what is shown. */
  get awaitsPython() {
    const { state, settled, data, revision } = this;
    return state !== settled || data.state.revision !== revision;
  }

  methodOf(method) {
    return this.data.methods.find(({ name }) => name === method);
  }

  titleOf(method) {
    return this.methodOf(method)?.title ?? method;
  }

  /** Return the MLP of a projection that has a width or is held at one, or null; its "ranks" are neurons. */
  narrowMlp(name) {
    const mlp = this.planner.mlpOf.get(name);
    return mlp && (mlp.name in this.state.held || this.decided?.get(name)?.format === "width") ? mlp : null;
  }

  fullRank(name) {
    const { inFeatures, outFeatures } = this.projections.get(name);
    return this.narrowMlp(name)?.neurons ?? Math.min(inFeatures, outFeatures);
  }

  rankOf(name) {
    const held = this.state.held[this.narrowMlp(name)?.name ?? name];
    return this.decided?.get(name)?.rank ?? held ?? this.fullRank(name);
  }

  /** Return whether a rank is held, alone or with its MLP; without rebalancing a shared block is held as one. */
  isHeld(name) {
    const { held, base } = this.state;
    return name in held || this.narrowMlp(name)?.name in held || (base !== null && (this.decided?.get(name)?.members.some((member) => member in held) ?? false));
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
    this.map.readColours();
    this.compute();
    this.drawMap();
    this.budgetControl.show();
    this.speedControl.show();
    this.cards.show();
    this.tools.show();
    this.showDifference();
    const { method, held, base } = this.state;
    Object.assign(this.root.dataset, {
      keptFraction: String(this.budgetControl.shownKeep()),
      budget: String(this.budget),
      method,
      held: JSON.stringify(held),
      rebalance: base === null ? "on" : "off",
    });
    selectInAddress(this.selection.names, this.projections);
    if (this.unsaid) {
      this.find("[data-testid=said]").textContent = sayChange(this, ...this.unsaid);
      this.unsaid = null;
    }
  }

  compute() {
    if (this.planned === this.state) return;
    Object.assign(this, this.planner.plan(this.state));
    const plan = this.plans.get(this.state.method);
    const { metric } = this.methodOf(this.state.method);
    this.decided = plan ? this.planner.decisions(plan, metric) : null;
    this.compared = plan ? this.otherMap(metric) : null;
    this.planned = this.state;
  }

  /** Return the decisions of the map that the active one is compared with, or null. */
  otherMap(metric) {
    const { compare: other, method } = this.state;
    if (other === null || other === method) return null;
    const [saved] = this.data.compared;
    const blocks = this.plans.get(other)?.blocks ?? (this.data.saved.some(([id]) => id === other) ? saved : null);
    return blocks ? this.planner.decisions({ blocks }, metric) : null;
  }

  drawMap() {
    const { decided, compared, hovered, selection } = this;
    this.map.draw({
      decided,
      before: compared,
      isHeld: (name) => this.isHeld(name),
      isSelected: (name) => selection.names.has(name),
      cursor: selection.cursor,
      hovered,
    });
    const { cursor } = selection;
    const lines = describe(this, cursor);
    const pointed = hovered ?? cursor;
    this.tip.show(pointed, hovered ? "pointer" : "keys", pointed === cursor ? lines : describe(this, pointed));
    const focus = this.find(".rb-scroll");
    const isSeveral = selection.size > 1 ? `, ${selection.size} selected` : "";
    focus.setAttribute("aria-valuetext", cursor ? `${lines.join("; ")}${isSeveral}` : "Nothing selected");
    focus.setAttribute("aria-valuemax", String(cursor ? this.fullRank(cursor) : 1));
    focus.setAttribute("aria-valuenow", String(cursor ? this.rankOf(cursor) : 1));
  }

  showDifference() {
    const line = this.find(".rb-difference");
    line.hidden = this.state.compare === null;
    const hasBits = [...(this.decided?.values() ?? [])].some(({ bits }) => bits < 16);
    showLegend(this.find(".rb-legend"), this.compared !== null, hasBits, this.data.meanings);
    if (line.hidden) return;
    const title = this.tools.compare.selectedOptions[0]?.textContent ?? "";
    const shapeOf = (name) => this.projections.get(name);
    line.textContent = this.compared
      ? compareInWords(title, compare(this.compared, this.decided, shapeOf), this.projections.size)
      : "No other map to compare with.";
  }

  // ---- changing ----

  /** Change what is shown now; `commit` then remembers and reports it. */
  preview(changes) {
    this.state = { ...this.state, ...changes };
    this.schedule();
  }

  commit() {
    if (same(this.settled, this.state)) return;
    this.history.remember(this.settled);
    this.settle();
  }

  /** Make changes, or let a function preview them, at once and for good. */
  change(changes) {
    if (changes instanceof Function) changes();
    else this.preview(changes);
    this.commit();
  }

  settle() {
    this.unsaid = [this.settled, this.state];
    this.settled = this.state;
    this.revision += 1;
    this.schedule();
    this.reporter.send({ ...this.state, revision: this.revision });
  }

  /** Return what moves with a projection: its MLP at a width, without rebalancing its shared block, or itself. */
  movedWith(name) {
    const mlp = this.narrowMlp(name);
    if (mlp) return { key: mlp.name, members: mlp.members, full: mlp.neurons };
    const cell = this.state.base && this.decided?.get(name);
    if (cell && cell.members.length > 1) return { key: cell.members[0], members: cell.members, full: cell.full };
    return { key: name, members: [name], full: this.fullRank(name) };
  }

  /** Hold projections, and all that moves with each, at `wanted(name, full rank)`. */
  hold(names, wanted) {
    const { rankStep } = this.curves;
    const held = { ...this.state.held };
    for (const name of names) {
      const { key, members, full } = this.movedWith(name);
      const rank = Math.max(Math.round(wanted(name, full) / rankStep), 1) * rankStep;
      for (const member of members) delete held[member];
      held[key] = Math.min(rank, full);
    }
    this.preview({ held: sorted(held) });
  }

  /** Change the selected ranks by a number of steps. */
  step(steps) {
    this.change(() => this.hold(this.selection.names, (name) => this.rankOf(name) + steps * this.curves.rankStep));
  }

  do(what) {
    const { names } = this.selection;
    if (what === "undo" || what === "redo") this.goTo(this.history.step(what === "undo", this.settled));
    else if (what === "release") this.change({ held: {} });
    else if (what === "zoom") this.zoom();
    else if (what === "rebalance") this.change({ base: this.state.base ? null : this.asBase() });
    else if (what === "less" || what === "more") this.step(what === "less" ? -1 : 1);
    else if (what === "dense") this.change(() => this.hold(names, (_, full) => full));
    else if ([...names].every((name) => this.isHeld(name))) this.change(() => this.release(names));
    else this.change(() => this.hold(names, (name) => this.rankOf(name)));
  }

  zoom() {
    this.map.isZoomed = !this.map.isZoomed;
    this.map.readSize();
    this.schedule();
  }

  asBase() {
    const { keep, target, time, held } = this.state;
    return { keep, target, time, held };
  }

  release(names) {
    const gone = new Set(names);
    for (const name of names) {
      const { key, members } = this.movedWith(name);
      for (const each of [key, ...members]) gone.add(each);
    }
    this.preview({ held: Object.fromEntries(Object.entries(this.state.held).filter(([name]) => !gone.has(name))) });
  }

  goTo(state) {
    if (!state) return;
    this.state = state;
    this.settle();
  }

  /** Let a function change the selection. */
  select(change) {
    change();
    const { cursor } = this.selection;
    if (cursor) {
      const [column] = this.map.placeOf(cursor);
      const scroll = this.find(".rb-scroll");
      const [left, right] = [column * this.map.column, (column + 1) * this.map.column];
      if (left < scroll.scrollLeft) scroll.scrollLeft = left;
      if (right > scroll.scrollLeft + scroll.clientWidth) scroll.scrollLeft = right - scroll.clientWidth;
    }
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
