/* What the script does when it is put on a page. */

import {Morelike, MorelikeError, scriptOptions} from "./client.js";
import {Collector} from "./collect.js";
import {choose} from "./consent.js";
import {Shop} from "./shop.js";

/** A complete search on `target` (an element or a selector); options as in docs/storefront.md. */
Morelike.mount = (target, options = {}) => {
  const element = typeof target === "string" ? document.querySelector(target) : target;
  if (!element) throw new Error(`Morelike: no element matches ${JSON.stringify(target)}; expected one to put the search into`);
  return new Shop(element, options);
};
Morelike.Error = MorelikeError;

/** Tells what shoppers see and do on pages that draw themselves; options as in docs/storefront.md. */
Morelike.collect = (options = {}) => new Collector(new Morelike(options), options);

/** The shopper agrees to be learned from (true), or does not any longer (false), on every page of this origin. */
Morelike.consent = choose;
window.Morelike = Morelike;

/** The options that the script tag's data-… attributes say. */
function tagOptions({target: _, product: __, facets, limit, examples, ...rest}) {
  const options = {...rest};
  if (facets !== undefined) options.facets = facets.split(",").map((name) => name.trim()).filter(Boolean);
  if (limit !== undefined) options.limit = Number.parseInt(limit, 10) || 24;
  if (examples !== undefined) options.examples = examples.split("|").map((text) => text.trim()).filter(Boolean);
  return options;
}

const tag = scriptOptions();
if (tag.target) {
  const go = () => {
    const element = document.querySelector(tag.target);
    if (!element) {
      console.error(`Morelike: no element matches data-target=${JSON.stringify(tag.target)}`);
      return;
    }
    element.morelike = Morelike.mount(element, tagOptions(tag));
    element.dispatchEvent(new CustomEvent("morelike:ready", {bubbles: true}));
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", go);
  else go();
}
if (tag.product) {
  Morelike.collector = Morelike.collect(tagOptions(tag));
  Morelike.collector.looking(tag.product);
}
