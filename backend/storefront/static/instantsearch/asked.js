/* What InstantSearch asks, as Morelike is asked. */

const SORTS = ["relevance", "price_asc", "price_desc", "newest"];
const LEVEL = /^category\.lvl(\d)$/;
const BOUNDS = {">=": ["gte"], ">": ["gt"], "<=": ["lte"], "<": ["lt"], "=": ["gte", "lte"]};

/** The body of a search for `params` on `indexName`: its name may end in a sort, as in `products:price_asc`. */
export function requestOf(indexName, params) {
  const text = (params.query ?? "").trim();
  const facets = [...new Set([params.facets ?? []].flat().map(nameOf))].filter((name) => name !== "in_stock");
  const filters = filtersOf(params);
  const sort = sortOf(indexName);
  return {
    ...(text && {text}), ...(facets.length && {facets}), ...(Object.keys(filters).length && {filters}), ...(sort !== "relevance" && {sort}),
  };
}

/** Morelike's name of a facet: the levels of a hierarchical menu are all the category. */
export function nameOf(facet) {
  return LEVEL.test(facet) ? "category" : facet;
}

/** Of `values`, counts by value, those that a facet of this name shows: a level of a menu has the paths of its depth. */
export function valuesOf(facet, values) {
  const level = facet.match(LEVEL);
  if (!level) return values;
  return Object.fromEntries(Object.entries(values).filter(([path]) => path.split(" > ").length === Number(level[1]) + 1));
}

function sortOf(indexName) {
  const [, sort = "relevance"] = indexName.split(":");
  if (!SORTS.includes(sort)) throw new Error(`Morelike: the index ${JSON.stringify(indexName)} is sorted by ${JSON.stringify(sort)}; expected one of ${SORTS.join(", ")}`);
  return sort;
}

function filtersOf({facetFilters = [], numericFilters = [], filters, tagFilters}) {
  for (const [name, value] of Object.entries({filters, tagFilters})) {
    if (value?.length) throw new Error(`Morelike: ${name} is ${JSON.stringify(value)}; expected facetFilters and numericFilters, as the widgets send them`);
  }
  const asked = {};
  for (const either of [facetFilters].flat().map((one) => [one].flat())) addEither(asked, either);
  for (const bound of [numericFilters].flat().map((one) => [one].flat())) addBound(asked, bound);
  return asked;
}

/** Any of `either`, all of one facet: ["brand:Fable", "brand:Otto"]. */
function addEither(asked, either) {
  const said = either.map((one) => [one.slice(0, one.indexOf(":")), one.slice(one.indexOf(":") + 1)]);
  const names = [...new Set(said.map(([name]) => nameOf(name)))];
  const values = said.map(([, value]) => value.replace(/^\\-/, "-"));
  if (names.length !== 1) throw new Error(`Morelike: facetFilters ask for any of ${JSON.stringify(either)}; expected values of one facet`);
  if (said.some(([, value]) => value.startsWith("-"))) throw new Error(`Morelike: facetFilters leave out ${JSON.stringify(either)}; expected values to be found`);
  const [name] = names;
  if (name === "in_stock") asked.in_stock = values.includes("true") && !values.includes("false") ? true : "any";
  else if (name in asked) throw new Error(`Morelike: facetFilters ask for several values of ${name} at once; expected the operator "or"`);
  else asked[name] = values;
}

function addBound(asked, either) {
  const found = either.length === 1 && either[0].match(/^(.+?)\s*(>=|<=|=|<|>)\s*(-?\d+(?:\.\d+)?)$/);
  if (!found) throw new Error(`Morelike: numericFilters ask for ${JSON.stringify(either)}; expected one bound, such as "price>=10"`);
  const [, name, operator, number] = found;
  for (const bound of BOUNDS[operator]) asked[name] = {...asked[name], [bound]: Number(number)};
}
