// Lists of finds: the history, the latest ones on the start page, and the queue.

import { titleOf } from "./answer.js";
import { create, icon, picture } from "./dom.js";
import * as texts from "./texts.js";

function tileOf(find) {
  return find.thumbnail
    ? picture(find.thumbnail, "", "tile")
    : create("span", { class: "tile no-picture" }, icon("leaf"));
}

function linkOf(find) {
  const best = find.answer?.decision === "not_a_fruit" ? null : find.answer?.candidates[0];
  const isSure = find.answer?.decision === "sure";
  return create(
    "a",
    { class: "find", href: `#/find/${find.id}` },
    tileOf(find),
    create(
      "span",
      { class: "find-text" },
      create("span", { class: "find-title" }, titleOf(find)),
      isSure && best.latin && create("i", { class: "find-latin", lang: "la" }, best.latin),
      create("time", { class: "find-date", datetime: new Date(find.created).toISOString() }, texts.date(find.created)),
      find.observation && create("span", { class: "badge" }, icon("check"), texts.text("state-kept")),
    ),
  );
}

/** Return the list of the history; each find can be opened and deleted. */
export function historyOf(finds, onDelete) {
  if (!finds.length) {
    return create("div", { class: "empty" }, icon("tree"), create("p", {}, texts.text("history-empty")));
  }
  const items = finds.map((find) => {
    const label = texts.text("delete-one-label", { name: titleOf(find), date: texts.date(find.created) });
    const button = create(
      "button",
      { type: "button", class: "icon-button", "aria-label": label, on: { click: () => onDelete(find.id) } },
      icon("trash"),
    );
    return create("li", { class: "card find-item", "data-state": find.state, "data-id": find.id }, linkOf(find), button);
  });
  return create("ul", { class: "find-list" }, items);
}

/** Return the latest answered finds for the start page; null if there are none. */
export function recentOf(finds) {
  const answered = finds.filter((find) => find.state === "answered").slice(0, 4);
  if (!answered.length) return null;
  const items = answered.map((find) =>
    create(
      "li",
      {},
      create("a", { class: "recent-find", href: `#/find/${find.id}` }, tileOf(find), create("span", {}, titleOf(find))),
    ),
  );
  return [
    create(
      "div",
      { class: "card-head" },
      create("h2", {}, texts.text("recent")),
      create("a", { class: "text-link", href: "#/history" }, texts.text("see-all")),
    ),
    create("ul", { class: "recent-list" }, items),
  ];
}

/** Return the queue: the finds that wait for the network; null if none does. */
export function queueOf(finds, status) {
  const waiting = finds.filter((find) => find.state === "waiting");
  if (!waiting.length) return null;
  const key = { offline: "queue-text", busy: "queue-busy" }[status.state] ?? "queue-sending";
  return [
    create("h2", {}, icon("basket"), texts.text("queue", { n: waiting.length })),
    create("p", { class: "soft" }, texts.text(key)),
    create(
      "ul",
      { class: "queue-list" },
      waiting.map((find) =>
        create(
          "li",
          { "data-id": find.id },
          create("a", { href: `#/find/${find.id}`, "aria-label": `${titleOf(find)}, ${texts.date(find.created)}` }, tileOf(find)),
        ),
      ),
    ),
  ];
}
