/* Cards that glide from where they stood to where they stand. */

const DURATION_MS = 620;
const EASING = "cubic-bezier(.22, .8, .24, 1)";
const STAGGER_MS = 16;
const LONGEST_STAGGER_MS = 200;
const FROM_BELOW_PX = 90;

/** Whether motion is wanted, and would be seen. */
export function moves() {
  return !document.hidden && !matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Where `cards` (id -> element) stand now. */
export function placesOf(cards) {
  return new Map([...cards].map(([id, element]) => [id, element.getBoundingClientRect()]));
}

/**
 * Let `cards` glide from `before`, the places of those that were there, to where they are; the others come up from below.
 * Resolves when all have arrived.
 */
export function glide(before, cards) {
  let order = 0;
  const flights = [];
  for (const [id, element] of cards) {
    const to = element.getBoundingClientRect();
    const from = before.get(id);
    if (!isNear(to) && !(from && isNear(from))) continue;
    const x = from ? from.left - to.left : 0;
    const y = from ? from.top - to.top : FROM_BELOW_PX;
    if (from && Math.abs(x) < 1 && Math.abs(y) < 1) continue;
    const rises = !from || from.top > to.top || (from.top === to.top && from.left > to.left);
    const start = {transform: `translate(${x}px, ${y}px)`, zIndex: rises ? 2 : 1, ...(!from && {opacity: 0})};
    element.getAnimations().forEach((one) => one.cancel());
    flights.push(element.animate([start, {transform: "none", zIndex: rises ? 2 : 1, ...(!from && {opacity: 1})}],
      {duration: DURATION_MS, easing: EASING, fill: "backwards", delay: Math.min(order++ * STAGGER_MS, LONGEST_STAGGER_MS)}));
  }
  return Promise.allSettled(flights.map((one) => one.finished));
}

/** Copies of `cards`, which have just left, fade where they stood, inside `area`. */
export function fade(before, cards, area) {
  const frame = area.getBoundingClientRect();
  for (const [id, element] of cards) {
    const from = before.get(id);
    if (!from || !isNear(from)) continue;
    const ghost = element.cloneNode(true);
    ghost.classList.add("ghost");
    ghost.inert = true;
    ghost.setAttribute("aria-hidden", "true");
    Object.assign(ghost.style, {
      left: `${from.left - frame.left}px`, top: `${from.top - frame.top}px`, width: `${from.width}px`,
    });
    area.append(ghost);
    ghost.animate([{opacity: 1}, {opacity: 0, scale: .92}], {duration: DURATION_MS / 2, easing: "ease-out", fill: "forwards"})
      .finished.finally(() => ghost.remove());
  }
}

/** Whether a place is in the window, or so close to it that what moves there is seen. */
function isNear(place) {
  return place.bottom > -200 && place.top < innerHeight + 200;
}
