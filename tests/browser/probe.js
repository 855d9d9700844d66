/* What can be seen on the shop's page, measured frame by frame from the rectangles: the truth that morelike.js is held against. */

(() => {
  const stretches = {};  // "list product" -> [length, slack] of each stretch in sight, in milliseconds
  const running = {};  // "list product" -> [when it began, how long before that nobody had looked]
  const said = {lists: [], opened: [], looked: {}, stretches};
  let list = null;
  let product = null;
  let looked = performance.now();

  document.addEventListener("morelike:results", ({detail}) => {
    list = detail.answer.query_id;
    if (list && !said.lists.includes(list)) said.lists.push(list);
  });
  document.addEventListener("morelike:product", ({detail}) => {
    product = detail.hit.product_id;
    said.opened.push(product);
  });

  function cut(one, other) {
    return {left: Math.max(one.left, other.left), top: Math.max(one.top, other.top),
            right: Math.min(one.right, other.right), bottom: Math.min(one.bottom, other.bottom)};
  }

  function halfInSight(element, clips) {
    const whole = element.getBoundingClientRect();
    const seen = clips.reduce(cut, whole);
    const area = Math.max(0, seen.right - seen.left) * Math.max(0, seen.bottom - seen.top);
    return whole.width > 0 && area >= 0.5 * whole.width * whole.height;
  }

  function seenNow() {
    const shop = document.querySelector("#shop")?.shadowRoot;
    const seen = new Set();
    if (!shop || document.hidden) return seen;
    const page = {left: 0, top: 0, right: innerWidth, bottom: innerHeight};
    const dialog = shop.querySelector("dialog.product[open]");
    if (dialog) {
      seen.add(`looking ${product}`);
      const strip = dialog.querySelector(".strip");
      for (const card of strip?.children ?? []) {
        const clips = [page, dialog.getBoundingClientRect(), strip.getBoundingClientRect()];
        if (halfInSight(card, clips)) seen.add(`strip:${product} ${card.dataset.product}`);
      }
    } else if (list && !shop.querySelector("dialog[open]")) {
      for (const card of shop.querySelectorAll(".grid > .card[data-product]")) {
        if (halfInSight(card, [page])) seen.add(`${list} ${card.dataset.product}`);
      }
    }
    return seen;
  }

  function ended(key, now) {
    const [since, slack] = running[key];
    (stretches[key] ??= []).push([now - since, slack + now - looked]);
  }

  function look(now) {
    const seen = seenNow();
    for (const key of seen) running[key] ??= [now, now - looked];
    for (const key of Object.keys(running)) {
      if (seen.has(key)) continue;
      ended(key, now);
      delete running[key];
    }
    looked = now;
  }

  // what opens, closes or comes and goes is noticed at once: a busy machine draws its next frame late
  const changes = new MutationObserver(() => look(performance.now()));
  let watched = null;

  function frame(now) {
    look(now);
    const shop = document.querySelector("#shop")?.shadowRoot;
    if (shop && shop !== watched) changes.observe((watched = shop), {subtree: true, childList: true, attributes: true, attributeFilter: ["open"]});
    requestAnimationFrame(frame);
  }

  requestAnimationFrame(frame);
  document.addEventListener("visibilitychange", () => look(performance.now()));
  addEventListener("pagehide", () => {
    const now = performance.now();
    for (const key of Object.keys(running)) ended(key, now);
    localStorage.setItem("probe", JSON.stringify(said));
  });
})();
