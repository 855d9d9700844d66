/* Where a summarizer looked: light on a picture that is dark elsewhere, and warm words in a caption. */

import {h} from "./elements.js";

const SHADE = [22, 18, 40];
const DARKEST = 0.7;
const LIFT = 0.4;  // attention is peaked, one patch in hundreds gets most of it: what got a hundredth is to be seen, too

/** What lies over a picture: dark where nobody looked. What holds both must be as large as the picture and hide what hangs over. */
export function lightOf({rows, columns, values, area: [x1, y1, x2, y2]}) {
  const canvas = h("canvas", {class: "light", width: String(columns), height: String(rows), "aria-hidden": "true"});
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  values.flat().forEach((value, place) => pixels.data.set([...SHADE, 255 * DARKEST * (1 - value ** LIFT)], place * 4));
  context.putImageData(pixels, 0, 0);
  // a canvas is stretched smoothly, so few patches make a soft light
  Object.assign(canvas.style, {left: `${x1 * 100}%`, top: `${y1 * 100}%`, width: `${(x2 - x1) * 100}%`, height: `${(y2 - y1) * 100}%`});
  return canvas;
}

/** The light of `saliency` over `image`, which is shown whole in a square. */
export async function lightOver(image, saliency) {
  await image.decode().catch(() => {});
  const ratio = image.naturalWidth / image.naturalHeight || 1;
  const frame = h("div", {class: "light-frame"}, lightOf(saliency));
  const [across, down] = [Math.max(0, 1 - ratio) * 50, Math.max(0, 1 - 1 / ratio) * 50];
  frame.style.inset = `${down}% ${across}%`;
  return frame;
}

/** The caption with its words warm where they were looked at; `words` is null where nobody looked. */
export function warmCaption({text, words}) {
  const parts = [];
  let at = 0;
  for (const {start, end, saliency} of words ?? []) {
    const word = h("span", {class: "warm"}, text.slice(start, end));
    word.style.setProperty("--heat", `${Math.round(saliency * 100)}%`);
    parts.push(text.slice(at, start), word);
    at = end;
  }
  return h("p", {class: "warm-caption"}, parts, text.slice(at));
}
