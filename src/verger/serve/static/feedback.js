// Feedback: consent to keep the photos, and the choice of the right fruit.

import { create, icon } from "./dom.js";
import { searchFruits } from "./service.js";
import * as texts from "./texts.js";

const SEARCH_DELAY_MS = 150;

/** Show a dialog; return its value: "yes", or "" if it was closed. */
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

/** Ask whether the service may keep the photos of a find. */
export async function askForConsent() {
  return (await ask(document.getElementById("consent"))) === "yes";
}

/** Ask whether to delete: `key` is "delete-one" or "delete-all". */
export async function askToDelete(key) {
  const dialog = document.getElementById("confirm");
  document.getElementById("confirm-title").textContent = texts.text(`${key}-title`);
  document.getElementById("confirm-text").textContent = texts.text(`${key}-text`);
  document.getElementById("confirm-yes").textContent = texts.text(key);
  return (await ask(dialog)) === "yes";
}

/** Let the user choose the right fruit; return {species, name, comment}, or null. */
export async function chooseFruit(candidates) {
  const dialog = document.getElementById("choose");
  const search = document.getElementById("search");
  const comment = document.getElementById("comment");
  search.value = comment.value = "";
  document.getElementById("choices").replaceChildren();
  showChoices(candidates.map(({ species, name, latin }) => ({ id: species, name, latin })), null);
  const stop = new AbortController();
  search.addEventListener("input", searcher(search, candidates), { signal: stop.signal });
  const answer = await ask(dialog);
  const chosen = dialog.querySelector("input[name=species]:checked");
  stop.abort();
  if (answer !== "yes" || !chosen) return null;
  return { species: chosen.value || null, name: chosen.dataset.name, comment: comment.value.trim() || null };
}

/** Return a listener that searches after a short pause, and drops the answers of earlier searches. */
function searcher(search, candidates) {
  let timer = 0;
  let running = new AbortController();
  return () => {
    clearTimeout(timer);
    running.abort();
    running = new AbortController();
    const { signal } = running;
    timer = setTimeout(async () => {
      const query = search.value.trim();
      if (!query) {
        showChoices(candidates.map(({ species, name, latin }) => ({ id: species, name, latin })), null);
        return;
      }
      try {
        const { items } = await searchFruits(query, texts.language(), signal);
        if (!signal.aborted) {
          showChoices(items, items.length ? texts.text("results", { n: items.length }) : texts.text("results-none"));
        }
      } catch {
        if (!signal.aborted) showChoices([], texts.text("search-offline"));
      }
    }, SEARCH_DELAY_MS);
  };
}

function showChoices(fruits, message) {
  const chosen = document.querySelector("#choices :checked")?.value;
  const options = [...fruits, { id: "", name: texts.text("not-known"), latin: null }];
  document.getElementById("choices").replaceChildren(
    ...options.map(({ id, name, latin }) =>
      create(
        "label",
        { class: "choice" },
        create("input", { type: "radio", name: "species", value: id, "data-name": name, required: true, checked: id === chosen }),
        create("span", { class: "choice-name" }, name),
        latin && create("i", { class: "soft", lang: "la" }, latin),
        icon("check"),
      ),
    ),
  );
  document.getElementById("search-status").textContent = message ?? "";
}
