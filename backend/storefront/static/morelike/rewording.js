/* Whether a search was asked anew: other words, or another picture, in place of those that brought the list before. */

export class Wording {
  /** `own` is the query that the page itself asks: nobody's words. */
  constructor(own) {
    Object.assign(this, {own, list: null, words: null});
  }

  /** The list `queryId` is shown for `state`. Returns the list that was left for it, where it was `asked` anew; else null. */
  shown(queryId, state, asked) {
    if (!queryId) return null;
    const words = this.#wordsOf(state);
    const left = asked && words && this.words && words !== this.words ? this.list : null;
    Object.assign(this, {list: queryId, words});
    return left;
  }

  #wordsOf({text, picture}) {
    const said = text.trim();
    if (picture) return JSON.stringify([said, picture.id ?? picture.url]);
    return said && said !== this.own.trim() ? said : null;
  }
}
