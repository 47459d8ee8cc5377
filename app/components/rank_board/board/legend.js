import { COLOURS, LESS, MORE } from "./map.js";

/** Say what the map's signs mean; `isCompared` adds those of the difference, `hasBits` that of rounded blocks. */
export function showLegend(holder, isCompared, hasBits, meanings) {
  const shows = `${isCompared} ${hasBits}`;
  if (holder.dataset.shows === shows) return;
  holder.dataset.shows = shows;
  const colour = (value, kind = "") => `<i class="${kind}" style="background-color:${value}"></i>`;
  const signs = Object.entries(COLOURS).map(([format, value]) => [colour(value, format === "width" ? "rb-striped" : ""), format]);
  signs.push(['<i class="rb-mark"></i>', "above this line low-rank saves nothing"], ['<i class="rb-held"></i>', "held"]);
  if (hasBits) signs.push(['<i class="rb-bits">4</i>', "bits of a block's weights; without a number 16"]);
  if (isCompared) {
    signs.push([colour(MORE), "+ higher than in the other map"], [colour(LESS, "rb-hatched"), "− lower"], ['<i class="rb-ghost"></i>', "rank in the other map"]);
  }
  const shown = signs.map(([sign, text]) => `<span title="${meanings[text] ?? ""}">${sign}${text}</span>`).join("");
  holder.innerHTML = `<span>Height: kept rank over full rank, in width kept neurons over all.</span>${shown}`;
}
