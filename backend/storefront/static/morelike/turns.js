/* The turns of a session: what was said at each, and what follows from all of them together. Nothing here touches a page. */

/** A session in which nothing has been said yet. `begin` is the list it began with, `at` how many of `turns` are applied. */
export const UNTOUCHED = Object.freeze({begin: null, turns: Object.freeze([]), at: 0});

/** `state` after one more turn, {id, said, filters, sort, decision}: what was undone before it is forgotten. */
export function withTurn(state, begin, turn) {
  const turns = [...state.turns.slice(0, state.at), turn];
  return {...state, begin: state.at === 0 ? begin : state.begin, turns, at: turns.length, filters: turn.filters, sort: turn.sort};
}

/** `state` with the list it stands at replaced by `step`, {id, filters, sort}: the same products asked for, filtered anew. */
export function withStep(state, step) {
  const turns = [...state.turns.slice(0, state.at - 1), {...state.turns[state.at - 1], ...step}];
  return {...state, turns, filters: step.filters, sort: step.sort};
}

/** `state` as it stood after `at` turns; the later ones stay, undone. */
export function standingAt(state, at) {
  const {filters, sort} = stepOf(state, at);
  return {...state, at, filters, sort};
}

/** The step after `at` turns: {id, filters, sort}, of the list that was served there. */
export function stepOf(state, at = state.at) {
  return at === 0 ? state.begin : state.turns[at - 1];
}

/** Id of the refined list that `state` shows, or null where nothing was refined. */
export function listOf(state) {
  return state.at === 0 ? null : state.turns[state.at - 1].id;
}

/** Products that were liked or disliked, with those of `pending` laid over them: id -> {id, title, image, value}. */
export function judgements(state, pending = new Map()) {
  const said = state.turns.slice(0, state.at).flatMap((turn) => turn.said?.products ?? []);
  const all = new Map();
  for (const product of [...said, ...pending.values()]) {
    all.delete(product.id);  // so that the latest stands last
    if (product.value !== 0) all.set(product.id, product);
  }
  return all;
}

/** The body of a refinement: what is `said` is {products, parts, text}; a part is a box on the product's picture number `place`. */
export function toRefinement({products = [], parts = [], text = ""}) {
  const feedback = [
    ...products.map(({id, value}) => ({product_id: id, value})),
    ...parts.map(({id, value, place, box}) => ({product_id: id, value, image: place, box})),
  ];
  return {...(feedback.length && {feedback}), ...(text.trim() && {text: text.trim()})};
}
