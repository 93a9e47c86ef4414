// The page: it chooses what is shown, takes photos, and joins the other modules.

import * as answer from "./answer.js";
import { announce, create, replaceContent } from "./dom.js";
import { askForConsent, askToDelete, chooseFruit } from "./feedback.js";
import { historyOf, queueOf, recentOf } from "./finds.js";
import * as outbox from "./outbox.js";
import { MAX_PHOTOS, shrink, thumbnail } from "./photos.js";
import { onStatus, queueStatus, send, setOffline } from "./queue.js";
import { isReachable, searchFruits } from "./service.js";
import * as store from "./store.js";
import * as texts from "./texts.js";

const TOAST_MS = 6000;
const element = (id) => document.getElementById(id);

let preview = null; // the find whose photos are being made smaller; it is not in the store yet
let chosenSpecies = null;
let announced = "";
let renderings = 0;
let namesVersion = 0;
let installPrompt = null;

// Routes: "#/" (start), "#/history", "#/find/ID".

function route() {
  const [, name = "", id = ""] = location.hash.split("/");
  return { name: ["history", "find"].includes(name) ? name : "start", id };
}

/** Show the view of the current route. */
async function render({ isNavigation = false } = {}) {
  const turn = ++renderings;
  const { name, id } = route();
  const finds = await store.readFinds();
  const find = name === "find" ? (finds.find((one) => one.id === id) ?? (preview?.id === id ? preview : null)) : null;
  if (turn !== renderings) return;
  if (name === "find" && !find) {
    location.replace("#/");
    return;
  }
  for (const view of ["start", "history", "find"]) element(`view-${view}`).hidden = view !== name;
  element("dock-history").setAttribute("aria-current", name === "history" ? "page" : "false");
  element("offline").hidden = queueStatus().state !== "offline";
  if (name === "start") renderStart(finds);
  if (name === "history") renderHistory(finds);
  if (name === "find") renderFind(find);
  document.title = titleOf(name, find);
  if (isNavigation) {
    window.scrollTo(0, 0);
    (element(`view-${name}`).querySelector("h1") ?? element("main")).focus({ preventScroll: true });
  }
}

function titleOf(name, find) {
  const page = { start: null, history: texts.text("history-title"), find: find && (find.answer ? answer.sentenceOf(find.answer) : texts.text("looking")) }[name];
  return page ? `${page} · ${texts.text("title")}` : texts.text("title");
}

/** Build the content of an element again if the key of what it shows has changed. */
function renderPart(id, key, build) {
  const target = element(id);
  const text = JSON.stringify([texts.language(), namesVersion, key]);
  if (target.dataset.key === text) return;
  target.dataset.key = text;
  const content = build();
  target.hidden = content === null;
  replaceContent(target, content ?? []);
}

const keysOf = (finds) => finds.map((find) => [find.id, find.state, find.observation]);

function renderStart(finds) {
  renderPart("queue", [keysOf(finds), queueStatus().state], () => queueOf(finds, queueStatus()));
  renderPart("recent", keysOf(finds), () => recentOf(finds));
}

function renderHistory(finds) {
  renderPart("history-queue", [keysOf(finds), queueStatus().state], () => queueOf(finds, queueStatus()));
  renderPart("history-list", keysOf(finds), () => [historyOf(finds, deleteOne)]);
  element("delete-all").hidden = finds.length === 0;
}

function renderFind(find) {
  const { id, state, photos, feedback, feedbackProblem, isFeedbackSent, observation } = find;
  // A preview is not stored yet, so it does not wait for the network.
  const status = find.isPreview ? { state: "sending", until: 0 } : queueStatus();
  const isAnswered = state === "answered";
  renderPart("find-photos", [id, photos.length, find.isPreview], () => [answer.platesOf(find)]);
  element("find-photos").classList.toggle("looking", state === "waiting" && !["offline", "busy"].includes(status.state));
  renderPart("find-answer", [id, state, state === "waiting" && status.state], () => partsOf(find, status));
  renderPart(
    "find-feedback",
    [id, isAnswered, feedback, feedbackProblem, isFeedbackSent, observation, photos.length, status.state === "offline"],
    () => (isAnswered ? answer.feedbackOf(find, status.state === "offline", { onRight: sayRight, onWrong: sayWrong }) : null),
  );
  renderPart("find-versions", [id, isAnswered], () => (isAnswered ? [answer.versionsOf(find.answer)] : null));
  element("add-photo").hidden = !isAnswered || photos.length === 0 || photos.length >= MAX_PHOTOS;
  element("delete-find").hidden = state === "waiting";
  renderFacts(find);
  announceFind(find, status);
  showCountdown();
}

function partsOf(find, status) {
  if (find.state === "waiting") return answer.waitingOf(find, status, () => cancel(find.id));
  if (find.state === "failed") return answer.failureOf(find, () => askAgain(find.id));
  return answer.answerOf(find, (species) => chooseFacts(find, species));
}

function renderFacts(find) {
  const key = JSON.stringify([find.id, texts.language(), chosenSpecies, queueStatus().state === "offline"]);
  const target = element("find-facts");
  if (find.state !== "answered") {
    target.hidden = true;
    target.dataset.key = "[]";
    return;
  }
  if (target.dataset.key === key) return;
  if (JSON.parse(target.dataset.key ?? "[]")[0] !== find.id) target.replaceChildren();
  target.dataset.key = key;
  answer.showFactsOf(find, chosenSpecies, target);
}

function chooseFacts(find, species) {
  chosenSpecies = species;
  renderFacts(find);
  element("find-facts").scrollIntoView({ block: "start" });
}

/** Let screen readers say what has become of the find. */
function announceFind(find, status) {
  const key = `${find.id} ${find.state} ${find.state === "waiting" ? status.state : ""} ${texts.language()}`;
  if (key === announced) return;
  announced = key;
  const seconds = Math.max(1, Math.round((status.until - Date.now()) / 1000));
  if (find.state === "answered") announce(answer.sentenceOf(find.answer));
  else if (find.state === "failed") announce(element("problem").textContent);
  else if (status.state === "busy") announce(texts.text("busy-spoken", { seconds }));
  else announce(texts.text(status.state === "offline" ? "waiting-title" : "looking"));
}

function showCountdown() {
  const target = element("countdown");
  const { state, until } = queueStatus();
  if (target && state === "busy") {
    target.textContent = texts.text("seconds", { n: Math.max(0, Math.ceil((until - Date.now()) / 1000)) });
  }
}

// Photos.

/** Ask about the photos in files, with photos that are already small. */
async function ask(files, earlier = []) {
  const wanted = [...files];
  if (!wanted.length) return;
  const chosen = wanted.slice(0, MAX_PHOTOS - earlier.length);
  if (chosen.length < wanted.length) notify(texts.text("too-many"));
  const find = {
    id: crypto.randomUUID(),
    created: Date.now(),
    language: texts.language(),
    photos: [...earlier, ...chosen],
    thumbnail: null,
    state: "waiting",
    isPreview: true,
  };
  preview = find;
  chosenSpecies = null;
  location.hash = `#/find/${find.id}`;
  const photos = [...earlier, ...(await Promise.all(chosen.map(shrink)))];
  const small = await thumbnail(photos[0]);
  if (preview !== find) return; // cancelled
  await store.addFind({ ...find, photos, thumbnail: small, isPreview: false });
  preview = null;
  await send();
}

async function addPhotos(files) {
  const find = await store.readFind(route().id);
  if (!find || !files.length) return;
  const asked = ask(files, find.photos);
  if (!find.feedback) await outbox.deleteFind(find.id);
  await asked;
}

async function cancel(id) {
  preview = null;
  await outbox.deleteFind(id);
  location.hash = "#/";
}

async function askAgain(id) {
  await store.updateFind(id, { state: "waiting", problem: null });
  await send();
}

// Feedback and deletion.

async function sayRight() {
  const find = await store.readFind(route().id);
  await saveFeedback(find, { is_right: true }, "");
}

async function sayWrong() {
  const find = await store.readFind(route().id);
  if (!(await mayKeep(find))) return;
  const candidates = find.answer.candidates.map((one) => ({ ...one, name: answer.nameOf(one) }));
  const chosen = await chooseFruit(candidates);
  if (!chosen) return;
  const { species, name, comment } = chosen;
  await saveFeedback(find, { is_right: false, species, ...(comment ? { comment } : {}) }, name, true);
}

/** Return whether the service keeps the photos already, or the user allows it now. */
async function mayKeep(find) {
  if (find.observation || find.feedback || (await askForConsent())) return true;
  notify(texts.text("consent-refused"));
  return false;
}

async function saveFeedback(find, feedback, feedbackName, isAllowed = false) {
  if (!isAllowed && !(await mayKeep(find))) return;
  await store.updateFind(find.id, { feedback, feedbackName, feedbackProblem: null, isFeedbackSent: false });
  await render();
  const isOffline = queueStatus().state === "offline";
  announce(element("thanks")?.textContent ?? "");
  if (!isOffline || navigator.onLine) await send();
}

async function deleteOne(id) {
  if (!(await askToDelete("delete-one"))) return;
  await outbox.deleteFind(id);
  notify(texts.text("deleted"));
  if (route().name === "find") location.hash = "#/history";
  else element("history-title").focus();
  await send();
}

async function deleteAll() {
  if (!(await askToDelete("delete-all"))) return;
  await outbox.deleteAllFinds();
  notify(texts.text("deleted"));
  element("history-title").focus();
  await send();
}

function notify(message) {
  const toast = element("toast");
  toast.replaceChildren(create("p", {}, message));
  setTimeout(() => toast.firstChild?.textContent === message && toast.replaceChildren(), TOAST_MS);
}

// Language: names in lists come from answers, which are in the language they were asked in.

async function changeLanguage() {
  texts.switchLanguage();
  texts.translatePage();
  await Promise.all([render(), readNames()]);
}

async function readNames() {
  const language = texts.language();
  const finds = await store.readFinds();
  if (finds.every((find) => find.language === language)) return;
  try {
    answer.rememberNames(language, (await searchFruits("", language)).items);
  } catch {
    return; // the names of the answers stay
  }
  namesVersion += 1;
  await render();
}

// The start.

function listen() {
  for (const [button, input] of [["take-photo", "camera"], ["choose-photos", "gallery"], ["add-photo", "more"]]) {
    element(button).addEventListener("click", () => element(input).click());
  }
  for (const [input, use] of [["camera", ask], ["gallery", ask], ["more", addPhotos]]) {
    element(input).addEventListener("change", ({ target }) => {
      const files = [...target.files];
      target.value = ""; // so that the same photo can be chosen again
      use(files);
    });
  }
  element("language").addEventListener("click", changeLanguage);
  element("delete-all").addEventListener("click", deleteAll);
  element("delete-find").addEventListener("click", () => deleteOne(route().id));
  element("install").addEventListener("click", install);
  element("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the hash is the route
    element("main").focus();
  });
  listenForDrops();
  window.addEventListener("hashchange", () => {
    chosenSpecies = null;
    render({ isNavigation: true });
  });
  window.addEventListener("online", () => {
    setOffline(false);
    send();
  });
  window.addEventListener("offline", () => setOffline(true));
  document.addEventListener("visibilitychange", () => !document.hidden && send());
  store.onChange(() => render());
  onStatus(() => render());
  setInterval(showCountdown, 1000);
}

function listenForDrops() {
  const imagesOf = (transfer) => [...(transfer?.files ?? [])];
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    ask(imagesOf(event.dataTransfer));
  });
  document.addEventListener("paste", (event) => ask(imagesOf(event.clipboardData)));
}

function listenForInstallation() {
  window.addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    installPrompt = event;
    element("install").hidden = false;
  });
  window.addEventListener("appinstalled", () => {
    element("install").hidden = true;
  });
}

async function install() {
  await installPrompt?.prompt();
  installPrompt = null;
  element("install").hidden = true;
}

async function start() {
  listenForInstallation();
  texts.translatePage();
  listen();
  navigator.serviceWorker?.register("/sw.js", { type: "module" }).catch((error) => console.warn(error));
  await render();
  document.documentElement.dataset.ready = "true";
  if (!navigator.onLine && !(await isReachable())) setOffline(true);
  await send();
  await readNames();
}

start();
