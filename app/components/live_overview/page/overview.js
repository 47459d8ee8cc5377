import { Planner } from "../../rank_board/port/planner.js";
import { shelf } from "../../rank_board/board/shelf.js";
import { QualityChart, showChartLegend } from "./chart.js";
import { DeviceLine } from "./device.js";
import { leastHarm, outcomeOf } from "./outcome.js";
import { Tiles } from "./tiles.js";

const STEP = 0.01;
const PATIENCE_MS = 2000;
const SIZES = 12;

/** A slider, and what the best map of that size makes of the model, while it moves. */
class Overview {
  constructor(root) {
    this.root = root;
    const find = (selector) => root.querySelector(selector);
    this.slider = find(".ov-keep");
    this.tiles = new Tiles(find);
    this.chart = new QualityChart(find, (keep, isChosen) => this.choose(keep, isChosen));
    this.device = new DeviceLine(find, () => this.render());
    this.legend = find(".ov-legend");
    this.revision = 0;
    this.slider.addEventListener("input", () => this.choose(Number(this.slider.value), false));
    this.slider.addEventListener("change", () => this.choose(Number(this.slider.value), true));
  }

  async update(data, report) {
    Object.assign(this, { data, report });
    if (this.curves?.name !== data.curves) {
      this.curves = await shelf(data.curves).promise;
      if (this.data.curves !== this.curves.name) return;
      this.places = new Map(this.data.projections.map((name, place) => [name, place]));
      this.planner = new Planner(this.curves, this.shapes());
    }
    this.planner.learn(this.data);
    // An answer to an older choice must not undo a newer one.
    if (this.keep === undefined || (this.data.revision >= this.revision && !this.isChoosing)) {
      this.keep = this.data.keep;
      this.revision = this.data.revision;
    }
    this.slider.min = String(this.data.constants.lowest_keep);
    this.chart.learn(this.data);
    this.device.learn(this.data);
    this.bySize = null;
    showChartLegend(this.legend, this.data);
    this.render();
    this.slider.disabled = false;
    this.root.dataset.ready = "true";
  }

  shapes() {
    const [first] = Object.values(this.curves.metrics);
    const curves = first.flatMap(({ separate }) => separate);
    const shapes = curves.map(({ members: [name], inFeatures, outFeatures, matrices }) => [name, { name, inFeatures, outFeatures, matrices }]);
    return new Map(shapes);
  }

  choose(keep, isChosen) {
    const { lowest_keep: lowest } = this.data.constants;
    this.keep = Math.min(Math.max(Math.round(keep / STEP) * STEP, lowest), 1);
    this.isChoosing = !isChosen;
    this.schedule();
    if (isChosen) this.tell();
  }

  /** Report the choice, again if there is no answer: the first report after the server restarted is lost. */
  tell() {
    clearTimeout(this.waiting);
    this.revision += 1; // what was reported once is not sent again
    this.report({ keep: Number(this.keep.toFixed(4)), revision: this.revision });
    this.waiting = setTimeout(() => {
      if (this.root.isConnected && this.data.revision < this.revision) this.tell();
    }, PATIENCE_MS);
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.render();
    });
  }

  render() {
    const { data, keep } = this;
    if (Number(this.slider.value) !== keep) this.slider.value = String(keep);
    const { lowest_keep: lowest } = data.constants;
    this.slider.style.setProperty("--ov-part", `${(100 * (keep - lowest)) / (1 - lowest)}%`);
    const outcome = this.outcome();
    if (outcome) this.tiles.show(outcome, data);
    else this.tiles.showNone();
    this.chart.mark(keep, outcome);
    this.device.show(outcome?.plan, this.planner, this.bestOfSizes());
    this.slider.setAttribute("aria-valuetext", `${(100 * keep).toFixed(0)} % kept`);
    Object.assign(this.root.dataset, {
      keptFraction: String(keep),
      params: String(outcome?.params ?? ""),
      method: outcome?.title ?? "",
      ratio: String(outcome ? (outcome.measured?.ratio ?? outcome.predicted[0]) : ""),
    });
  }

  /** Return what the map that was edited by hand does, or the best method's at the chosen size. */
  outcome() {
    const { data, keep, places } = this;
    const placeOf = (member) => places.get(member);
    if (data.edited && keep === data.keep) return outcomeOf(data.edited.fixed, data.edited, data, placeOf);
    const [plan, best] = this.bestAt(keep);
    return best && outcomeOf(plan, best, data, placeOf);
  }

  /** Return the map with the least predicted harm at a kept fraction, and its method. */
  bestAt(keep) {
    const { plans } = this.planner.plan({ keep, target: null, held: {}, base: null });
    const best = leastHarm(plans, this.data);
    return [best && plans.get(best.name), best];
  }

  /** Return the best maps between the smallest and the largest size as pairs of kept fraction and map. */
  bestOfSizes() {
    const [from, to] = this.data.range;
    this.bySize ??= Array.from({ length: SIZES }, (_, i) => from + ((to - from) * i) / (SIZES - 1))
      .map((keep) => [keep, this.bestAt(keep)[0]])
      .filter(([, plan]) => plan);
    return this.bySize;
  }
}

const overviews = new WeakMap();

export default function show({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".ov-root");
  if (!overviews.has(root)) overviews.set(root, new Overview(root));
  overviews.get(root).update(data, (chosen) => setStateValue("chosen", chosen));
}
