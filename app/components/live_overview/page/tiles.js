import { megabytes } from "../../rank_board/board/text.js";
import { change, faster, kept, smaller, times } from "./words.js";

/** The sentence and the tiles. */
export class Tiles {
  constructor(find) {
    this.find = find;
  }

  show(outcome, data) {
    const { bytes, measured, predicted, title } = outcome;
    const dense = data.total * data.bytes_per_param;
    const [ratio, low, high] = predicted;
    const shown = measured ? measured.ratio : ratio;
    const size = smaller(1 - bytes / dense);
    this.put("headline", `${size}. Perplexity ${change(shown)}${shown < 2 ? "" : " the original's"}${measured ? "" : ", predicted"}.`);
    const likely = measured ? `Measured on ${data.text}` : `Predicted for ${data.text}; likely ${change(low)} to ${change(high)}`;
    this.put("about", `${likely}. ${title}, ${kept(outcome.kept)}.`);
    this.tile("size", megabytes(bytes), `of ${megabytes(dense)}, at 16 bit`);
    const between = `${times(low)} to ${times(high)}`;
    this.tile(
      "perplexity",
      times(shown),
      measured ? `predicted without it: ${times(ratio)} (${between})` : `likely ${between}`,
      measured ? "measured" : "predicted",
    );
    const [tasks, speed] = [measured?.tasks, measured?.speed];
    this.tile("tasks", tasks ? percent(tasks.value) : "–", tasks ? `dense ${percent(tasks.dense)}; ${tasks.about}` : "not measured for this map");
    const asFast = speed && `${times(speed.value)} the dense model's tokens per second, ${speed.about}`;
    this.tile("speed", speed ? faster(speed.value) : "–", asFast ?? "not measured for this map");
  }

  showNone() {
    this.put("headline", "No method makes the model this small.");
    this.put("about", "Move the slider to the right.");
    for (const name of ["size", "perplexity", "tasks", "speed"]) this.tile(name, "–", "");
  }

  tile(name, value, note, badge = "") {
    const tile = this.find(`[data-tile=${name}]`);
    tile.querySelector(".ov-value").textContent = value;
    tile.querySelector(".ov-tile-note").textContent = note;
    const shown = tile.querySelector(".ov-badge");
    if (!shown) return;
    shown.textContent = badge;
    shown.dataset.badge = badge;
  }

  put(name, text) {
    const place = this.find(`.ov-${name}`);
    if (place.textContent !== text) place.textContent = text;
  }
}

const percent = (fraction) => `${(100 * fraction).toFixed(1)} %`;
