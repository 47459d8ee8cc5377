import { megabytes } from "../../rank_board/board/text.js";
import { duration, outlook } from "./words.js";

const [LONG, TALL, EDGE] = [190, 34, 5];
const DEVICE = "rankscope.device";

/** What the shown map would take on a device, before it is compressed, beside what was measured. */
export class DeviceLine {
  constructor(find, changed) {
    this.device = find(".ov-device-name");
    this.batch = find(".ov-batch");
    this.says = find(".ov-device-says");
    this.svg = find(".ov-times");
    this.labels = [...this.svg.children];
    this.device.addEventListener("change", () => localStorage.setItem(DEVICE, this.device.value));
    for (const field of [this.device, this.batch]) field.addEventListener("change", changed);
  }

  learn(data) {
    this.data = data;
    const offered = JSON.stringify(data.devices);
    if (this.offered === offered) return;
    this.offered = offered;
    // What one computes on is a person's, not a link's.
    const chosen = this.device.value || remembered();
    this.device.replaceChildren(...data.devices.map(({ name, title }) => new Option(title, name)));
    if (data.devices.some(({ name }) => name === chosen)) this.device.value = chosen;
  }

  /** Show the times of a map, and of the best map of every size: pairs of kept fraction and map. */
  show(plan, planner, bySize) {
    const { constants, devices, token } = this.data;
    const device = devices.find(({ name }) => name === this.device.value);
    const batch = Math.max(Math.floor(Number(this.batch.value)) || 1, 1);
    const dtype = constants.usual_dtype;
    const cache = token.cache * token.context * batch;
    const timeOf = (one) => planner.secondsOf(one, dtype, device, batch, token.context);
    const bytesOf = (one) => planner.bytesOf(one, dtype) + cache;
    const dense = { blocks: [] };
    const seconds = plan && timeOf(plan);
    const fits = plan && bytesOf(plan) <= device.memory_bytes;
    const verdict = plan && outlook(seconds / timeOf(dense), fits, bytesOf(dense) <= device.memory_bytes, constants.noticeable);
    const times = plan && `${duration(seconds)} for a token (dense ${duration(timeOf(dense))}), predicted.`;
    const held = plan && `Weights ${megabytes(bytesOf(plan) - cache)}, cache of ${token.context.toLocaleString("en")} tokens ${token.cache ? megabytes(cache) : "not known"}.`;
    this.says.textContent = plan ? `${verdict} ${times} ${held}` : "";
    this.says.dataset.ratio = plan ? String(seconds / timeOf(dense)) : "";
    const line = bySize.map(([kept, one]) => [kept, timeOf(one) / timeOf(dense)]);
    this.draw(line, this.timed(batch), plan && [plan.params / this.data.compressible, seconds / timeOf(dense)]);
  }

  /** Return what this machine took with so many sequences at once, where it is the chosen device: kept fraction, time, title. */
  timed(batch) {
    if (this.device.value !== this.data.own_device) return [];
    return this.data.measured.filter(({ timed_here: taken }) => taken[batch]).map(({ kept, timed_here: taken, title }) => [kept, taken[batch], title]);
  }

  /** Draw times over the dense model's against the kept fraction: predicted as a line, measured on this machine as points. */
  draw(line, measured, shown) {
    const all = [...line, ...measured, ...(shown ? [shown] : [])].map(([, ratio]) => ratio);
    const [low, high] = [Math.min(0.9, ...all), Math.max(1.1, ...all)];
    const [from, to] = this.data.range;
    const x = (kept) => EDGE + ((kept - from) / (to - from)) * (LONG - 2 * EDGE);
    const y = (ratio) => TALL - EDGE - ((ratio - low) / (high - low)) * (TALL - 2 * EDGE);
    this.svg.replaceChildren(...this.labels);
    this.add("line", { class: "ov-grid ov-one", x1: EDGE, x2: LONG - EDGE, y1: y(1), y2: y(1) });
    if (line.length) this.add("path", { class: "ov-time", d: `M${line.map(([kept, ratio]) => `${x(kept)},${y(ratio)}`).join("L")}` });
    for (const [kept, ratio, title] of measured) {
      const name = document.createElementNS(this.svg.namespaceURI, "title");
      name.textContent = `${title}: ${ratio.toFixed(2)} × the dense model's time for a token, measured`;
      this.add("circle", { class: "ov-timed", cx: x(kept), cy: y(ratio), r: 3.5 }).append(name);
    }
    if (shown) this.add("circle", { class: "ov-time-shown", cx: x(shown[0]), cy: y(shown[1]), r: 5 });
  }

  add(tag, attributes) {
    const element = document.createElementNS(this.svg.namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
    this.svg.append(element);
    return element;
  }
}

/** Return the device that was chosen last; a browser may refuse to say. */
function remembered() {
  try {
    return localStorage.getItem(DEVICE);
  } catch {
    return null;
  }
}
