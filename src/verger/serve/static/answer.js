// The view of one find: its photos, what is going on, the answer, feedback and facts.

import { create, icon, picture } from "./dom.js";
import { showFacts } from "./facts.js";
import * as texts from "./texts.js";

/** Return the title of a find for lists. */
export function titleOf(find) {
  if (find.state === "waiting") return texts.text("state-waiting");
  if (find.state === "failed") return texts.text("state-failed");
  const { decision } = find.answer;
  const best = nameOf(find.answer.candidates[0]);
  if (decision === "not_a_fruit") return texts.text("no-fruit");
  return decision === "sure" ? best : texts.text("perhaps", { name: best });
}

/** Return the decision as a sentence. */
export function sentenceOf({ decision, candidates }) {
  if (decision === "not_a_fruit") return texts.text("lead-not");
  if (decision === "unsure") return texts.text("lead-unsure");
  const best = candidates[0];
  const word = texts.article(best.species, nameOf(best));
  return `${texts.text("lead-sure", { article: word }).trim()} ${texts.inSentence(nameOf(best))}`;
}

/** Return the name of a candidate in the language of the page, if it has been read; otherwise in that of the answer. */
export function nameOf(candidate) {
  return names.get(`${texts.language()} ${candidate?.species}`) ?? candidate?.name ?? "";
}

const names = new Map();

/** Remember the names of fruits in a language. */
export function rememberNames(language, fruits) {
  for (const { id, name } of fruits) names.set(`${language} ${id}`, name);
}

/** Return the photos of a find, the first one large. */
export function platesOf(find) {
  const photos = find.photos.length ? find.photos : [find.thumbnail].filter(Boolean);
  const total = photos.length;
  const images = photos.map((photo, i) => {
    const alt = total > 1 ? texts.text("photo-alt-n", { n: i + 1, total }).trim() : texts.text("photo-alt");
    return create("li", {}, picture(photo, alt, "photo"));
  });
  return create("ul", { class: "plates", id: "plates" }, images);
}

/** Return what is shown while a find waits for its answer. */
export function waitingOf(find, status, onCancel) {
  const key = status.state === "offline" ? "waiting" : status.state === "busy" ? "busy" : "looking";
  const countdown = create("span", { class: "countdown", id: "countdown", "aria-hidden": "true" });
  return [
    create("h1", { id: "view-title", tabindex: "-1", class: "decision" }, texts.text(key === "looking" ? key : `${key}-title`)),
    create("p", { class: "soft", id: "waiting-text" }, texts.text(`${key}-text`), " ", key === "busy" && countdown),
    key === "looking" && create("div", { class: "progress", role: "progressbar", "aria-label": texts.text("looking") }),
    create("button", { type: "button", class: "button quiet", id: "cancel", on: { click: onCancel } }, texts.text("cancel")),
  ];
}

/** Return what is shown when the service has refused the photos. */
export function failureOf({ problem, photos }, onAgain) {
  return [
    create("h1", { id: "view-title", tabindex: "-1", class: "decision" }, texts.text("failed-title")),
    create("p", { id: "problem", class: "problem" }, icon("alert"), create("span", {}, problemText(problem, photos.length))),
    create("button", { type: "button", class: "button", id: "again", on: { click: onAgain } }, texts.text("try-again")),
  ];
}

function problemText({ status, reason, photo }, nPhotos) {
  const which = nPhotos > 1 && photo !== null ? texts.text("photo-number", { n: photo + 1 }) : "";
  if (reason && texts.hasText(`reason-${reason}`)) return which + texts.text(`reason-${reason}`);
  const key = texts.hasText(`status-${status}`) ? `status-${status}` : "status-other";
  return texts.text(key, { status });
}

/** Return the decision and the candidates; `onChoose` gets the species whose facts the user wants. */
export function answerOf(find, onChoose) {
  const { decision, candidates } = find.answer;
  const [best, ...others] = candidates;
  if (decision === "sure") {
    return [
      decisionOf(find.answer),
      best.latin && create("p", { class: "latin" }, create("i", { lang: "la" }, best.latin)),
      shareOf(best, "main"),
      best.variety && create("p", { class: "variety" }, icon("tree"), texts.text("variety", { name: best.variety.name })),
      others.length > 0 && foldedOf("others-title", others, onChoose),
    ];
  }
  const isFruit = decision === "unsure";
  return [
    decisionOf(find.answer),
    create("p", { class: "soft" }, texts.text(isFruit ? "unsure-text" : "not-text")),
    isFruit ? listOf(candidates, onChoose) : foldedOf("if-fruit", candidates, onChoose),
  ];
}

function decisionOf(answer) {
  const properties = { id: "view-title", tabindex: "-1", class: "decision", "data-decision": answer.decision };
  if (answer.decision !== "sure") return create("h1", properties, sentenceOf(answer));
  const name = texts.inSentence(nameOf(answer.candidates[0]));
  const lead = sentenceOf(answer).slice(0, -name.length);
  return create("h1", properties, create("span", { class: "lead" }, lead), create("span", { class: "name" }, name));
}

function foldedOf(key, candidates, onChoose) {
  return create("details", { class: "others" }, create("summary", {}, texts.text(key)), listOf(candidates, onChoose));
}

function listOf(candidates, onChoose) {
  return create("ol", { class: "candidates" }, candidates.map((candidate) => create("li", {}, candidateOf(candidate, onChoose))));
}

function candidateOf(candidate, onChoose) {
  const name = nameOf(candidate);
  return create(
    "button",
    {
      type: "button",
      class: "candidate",
      id: `candidate-${candidate.species}`,
      "data-species": candidate.species,
      on: { click: () => onChoose(candidate.species) },
    },
    create("span", { class: "candidate-name" }, name),
    candidate.latin && create("i", { class: "candidate-latin", lang: "la" }, candidate.latin),
    shareOf(candidate, "small"),
    icon("chevron"),
  );
}

/** Return a probability as a bar and as text. */
function shareOf(candidate, kind) {
  const bar = create("span", { class: "bar", "aria-hidden": "true" }, create("span", { class: "bar-part" }));
  bar.firstChild.style.setProperty("--share", candidate.probability);
  const percent = texts.percent(candidate.probability);
  return create(
    "span",
    { class: `share share-${kind}` },
    bar,
    create("span", { class: "percent" }, kind === "main" ? texts.text("probability", { percent }) : percent),
  );
}

/** Return the question for feedback, or what the user has answered. */
export function feedbackOf(find, isOffline, { onRight, onWrong }) {
  const { feedback } = find;
  const button = (id, key, listener, symbol) =>
    create("button", { type: "button", class: "button quiet", id, on: { click: listener } }, icon(symbol), texts.text(key));
  if (feedback || find.feedbackProblem) {
    const thanks = feedback ? thanksFor(find, isOffline) : texts.text("feedback-refused");
    return [
      create("p", { id: "thanks", class: "thanks" }, icon(feedback ? "check" : "alert"), create("span", {}, thanks)),
      button("wrong", "change", onWrong, "pencil"),
    ];
  }
  if (!find.photos.length && !find.observation) return [create("p", { class: "soft" }, texts.text("photos-gone"))];
  const keys = {
    sure: ["right-question", "right", "wrong"],
    unsure: ["which-question", "first-right", "choose"],
    not_a_fruit: ["fruit-question", "right-no-fruit", "choose"],
  }[find.answer.decision];
  return [
    create("p", { class: "question" }, texts.text(keys[0])),
    create("div", { class: "buttons" }, button("right", keys[1], onRight, "check"), button("wrong", keys[2], onWrong, "pencil")),
  ];
}

function thanksFor({ feedback, feedbackName, isFeedbackSent }, isOffline) {
  const key = feedback.is_right ? "right" : feedback.species ? "wrong" : "unknown";
  const name = nameOf({ species: feedback.species, name: feedbackName });
  const thanks = texts.text(`thanks-${key}`, { name });
  return !isFeedbackSent && isOffline ? `${thanks} ${texts.text("thanks-later")}` : thanks;
}

/** Return the versions with which an answer was computed. */
export function versionsOf({ versions }) {
  if (!versions) return null;
  return create("p", { class: "versions" }, texts.text("details", versions));
}

/** Show the facts about the best candidate, or about the one that the user has chosen. */
export function showFactsOf(find, species, element) {
  const isFruit = find.answer.decision !== "not_a_fruit";
  const chosen = species ?? (isFruit ? find.answer.candidates[0]?.species : null);
  element.hidden = !chosen;
  if (chosen) showFacts(element, chosen);
  for (const button of document.querySelectorAll("[data-species].candidate")) {
    button.setAttribute("aria-pressed", String(button.dataset.species === chosen));
  }
}
