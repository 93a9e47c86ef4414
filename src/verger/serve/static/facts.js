// The facts about a fruit: season, nutrition, origin, storage, varieties, conservation, sources.

import { create, icon, replaceContent } from "./dom.js";
import { NetworkError, RefusedError, readFruit } from "./service.js";
import * as texts from "./texts.js";

const MONTHS = Array.from({ length: 12 }, (_, i) => i + 1);
const UNITS = { energy_kcal: "kcal", vitamin_c_mg: "mg", potassium_mg: "mg" };
const NUTRIENTS = [
  "energy_kcal", "carbohydrate_g", "sugars_g", "fibre_g", "protein_g", "fat_g", "vitamin_c_mg", "potassium_mg",
];

/** Read the facts about a species, and show them in an element. */
export async function showFacts(element, species) {
  element.dataset.species = species;
  element.setAttribute("aria-busy", "true");
  const language = texts.language();
  let content;
  try {
    content = factsOf(await readFruit(species, language));
  } catch (error) {
    const key = error instanceof RefusedError && error.problem.status === 404 ? "facts-missing" : "facts-offline";
    if (!(error instanceof RefusedError || error instanceof NetworkError)) console.warn(error);
    content = [create("p", { class: "soft" }, texts.text(key))];
  }
  // The user may have chosen another fruit, or another language, in the meantime.
  if (element.dataset.species !== species || language !== texts.language()) return;
  element.removeAttribute("aria-busy");
  replaceContent(element, content);
}

function factsOf(fruit) {
  return [
    create(
      "header",
      { class: "facts-head" },
      create("h2", {}, fruit.name),
      create("p", { class: "soft" }, create("i", { lang: "la" }, fruit.latin), " · ", texts.text("family", { name: fruit.family })),
    ),
    seasonOf(fruit),
    create(
      "div",
      { class: "facts-grid" },
      factOf("origin", "globe", fruit.origin),
      factOf("storage", "jar", fruit.storage),
      nutritionOf(fruit.nutrition),
      varietiesOf(fruit.varieties),
      fruit.conservation && factOf("conservation", "sprout", fruit.conservation, "conservation"),
    ),
    sourcesOf(fruit.sources),
  ];
}

function seasonOf({ season, in_season: isInSeason }) {
  const now = new Date().getMonth() + 1;
  const months = MONTHS.map((month) => {
    const isRipe = season.months.includes(month);
    const state = texts.text(isRipe ? "month-yes" : "month-no");
    return create(
      "li",
      { class: `month${isRipe ? " ripe" : ""}${month === now ? " now" : ""}`, "data-month": month },
      create("span", { class: "month-leaf", "aria-hidden": "true" }),
      create("span", { "aria-hidden": "true" }, texts.monthName(month, "narrow")),
      create("span", { class: "spoken" }, `${texts.monthName(month, "long")}: ${state}`),
    );
  });
  return create(
    "section",
    { class: "card season" },
    create(
      "div",
      { class: "card-head" },
      create("h3", {}, icon("calendar"), texts.text("season")),
      isInSeason && create("span", { class: "badge" }, texts.text("in-season")),
    ),
    create("p", { class: "season-text" }, spansOf(season.months)),
    create("ol", { class: "months" }, months),
    season.note && create("p", { class: "soft" }, season.note),
  );
}

/** Return months as text: "June to October"; a season may cross the end of the year. */
function spansOf(months) {
  if (months.length === 0) return texts.text("no-season");
  if (months.length === 12) return texts.text("all-year");
  const has = (month) => months.includes(((month + 11) % 12) + 1);
  const spans = MONTHS.filter((month) => has(month) && !has(month - 1)).map((start) => {
    let end = start;
    while (has(end + 1)) end += 1;
    const from = texts.monthName(start, "long");
    const to = texts.monthName(((end + 11) % 12) + 1, "long");
    return start === end ? from : texts.elide(texts.text("from-to", { from, to }));
  });
  const joined = new Intl.ListFormat(texts.language(), { type: "conjunction" }).format(spans);
  return joined.charAt(0).toLocaleUpperCase(texts.language()) + joined.slice(1);
}

function factOf(key, symbol, content, className = "") {
  return create(
    "section",
    { class: `card fact ${className}` },
    create("h3", {}, icon(symbol), texts.text(key)),
    create("p", {}, content),
  );
}

function nutritionOf(nutrition) {
  const rows = NUTRIENTS.filter((key) => typeof nutrition?.[key] === "number").map((key) =>
    create(
      "tr",
      { class: key === "sugars_g" ? "part" : null },
      create("th", { scope: "row" }, texts.text(key)),
      create("td", {}, `${texts.number(nutrition[key])} ${UNITS[key] ?? "g"}`),
    ),
  );
  const head = create("tr", {}, ...["nutrient", "amount"].map((key) => create("th", { scope: "col" }, texts.text(key))));
  return create(
    "section",
    { class: "card nutrition" },
    create("h3", {}, icon("drop"), texts.text("nutrition")),
    create(
      "table",
      {},
      create("caption", {}, texts.text("nutrition-caption")),
      create("thead", { class: "spoken" }, head),
      create("tbody", {}, rows),
    ),
  );
}

function varietiesOf(varieties) {
  if (!varieties?.length) return null;
  return create(
    "section",
    { class: "card varieties" },
    create("h3", {}, icon("tree"), texts.text("varieties")),
    create("dl", {}, varieties.map(({ name, note }) => create("div", {}, create("dt", {}, name), create("dd", {}, note)))),
  );
}

function sourcesOf(sources) {
  if (!sources?.length) return null;
  const items = sources.map(({ field, name, reference }) => {
    const label = texts.hasText(field) ? `${texts.text(field)}: ` : "";
    return create("li", {}, label, create("strong", {}, name), reference ? `, ${reference}` : "");
  });
  return create("details", { class: "sources" }, create("summary", {}, texts.text("sources")), create("ul", {}, items));
}
