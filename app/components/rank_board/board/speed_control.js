const PER_TOKEN = "ms";

/** The predicted speed on a device: of the map that is drawn, and a budget where one is typed. */
export class SpeedControl {
  constructor(board) {
    this.board = board;
    for (const name of ["speed", "per", "device", "batch", "context"]) this[name] = board.find(`.rb-${name}`);
    this.speed.addEventListener("change", () => this.typed());
    this.speed.addEventListener("blur", () => board.schedule());
    this.per.addEventListener("change", () => board.schedule());
    for (const field of [this.device, this.batch, this.context]) field.addEventListener("change", () => this.moved());
  }

  /** Offer the devices there are. */
  build() {
    const { devices, state, token } = this.board.data;
    const offered = JSON.stringify(devices);
    if (this.offered !== offered) {
      this.offered = offered;
      const chosen = this.device.value;
      this.device.replaceChildren(...devices.map(({ name, title }) => new Option(title, name)));
      if (devices.some(({ name }) => name === chosen)) this.device.value = chosen;
    }
    if (this.context.value === "") this.context.value = String(token.context);
    if (!state.time) return;
    this.device.value = state.time.device;
    for (const name of ["batch", "context"]) this[name].value = String(state.time[name]);
  }

  get chosenDevice() {
    return this.board.data.devices.find(({ name }) => name === this.device.value);
  }

  get chosenBatch() {
    return wholeNumber(this.batch);
  }

  /** How many tokens of every sequence are in the cache. */
  get chosenContext() {
    return wholeNumber(this.context);
  }

  /** Aim at a speed, in the unit that is shown. */
  typed() {
    const value = Number(this.speed.value);
    if (!(value > 0)) return;
    this.aimAt(this.per.value === PER_TOKEN ? value : (1e3 * this.chosenBatch) / value);
  }

  /** Ask for as little time on another device, or with more sequences at once, where a time is the budget. */
  moved() {
    [this.batch.value, this.context.value] = [String(this.chosenBatch), String(this.chosenContext)];
    const { time } = this.board.state;
    if (time) this.aimAt(time.ms);
    else this.board.schedule();
  }

  aimAt(ms) {
    const { board } = this;
    const { chosen_bits: chosen, usual_dtype: usual } = board.data.constants;
    const dtype = board.state.dtype === chosen.dtype ? usual : board.state.dtype;
    board.change({ dtype, target: null, time: { ms, device: this.device.value, dtype, batch: this.chosenBatch, context: this.chosenContext } });
  }

  show() {
    const { board } = this;
    const { time, method, dtype } = board.state;
    const plan = board.plans.get(method);
    const seconds = plan && this.chosenDevice && board.planner.secondsOf(plan, dtype, this.chosenDevice, this.chosenBatch, this.chosenContext);
    const shown = time && (board.awaitsPython || !plan) ? time.ms / 1e3 : seconds;
    const value = shown && (this.per.value === PER_TOKEN ? 1e3 * shown : this.chosenBatch / shown);
    board.budgetControl.put(this.speed, value ? String(Number(value.toPrecision(4))) : "");
    this.speed.dataset.seconds = String(seconds ?? "");
    board.root.dataset.time = time ? String(time.ms) : "";
  }
}

/** Return the whole number in a field, within its ends. */
function wholeNumber({ value, min, max }) {
  return Math.min(Math.max(Math.floor(Number(value)) || 0, Number(min)), Number(max));
}
