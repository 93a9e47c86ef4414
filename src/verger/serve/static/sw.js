// The service worker: the page without a network, and sending in the background where browsers can do that.

import { sendAll } from "/static/outbox.js";

const SHELL = [
  "/",
  "/manifest.webmanifest",
  "/static/answer.js",
  "/static/app.js",
  "/static/dom.js",
  "/static/facts.js",
  "/static/feedback.js",
  "/static/finds.js",
  "/static/icon-192.png",
  "/static/icon-512.png",
  "/static/icon-maskable-512.png",
  "/static/icon.svg",
  "/static/outbox.js",
  "/static/photos.js",
  "/static/queue.js",
  "/static/service.js",
  "/static/store.js",
  "/static/style.css",
  "/static/texts.js",
];
const SHELL_CACHE = "verger-shell";
const FACTS_CACHE = "verger-facts";
const SLOW_MS = 3000;

self.addEventListener("install", (event) => {
  const requests = SHELL.map((path) => new Request(path, { cache: "reload" }));
  event.waitUntil(caches.open(SHELL_CACHE).then((cache) => cache.addAll(requests)));
  self.skipWaiting();
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== self.location.origin) return;
  if (pathname.startsWith("/v1/fruits")) event.respondWith(networkFirst(event, FACTS_CACHE, request));
  else if (SHELL.includes(pathname)) event.respondWith(networkFirst(event, SHELL_CACHE, pathname));
});

self.addEventListener("sync", (event) => {
  if (event.tag === "outbox") event.waitUntil(sendInBackground());
});

/** Answer from the network and remember the answer; from the cache if the network fails or is slow. */
async function networkFirst(event, cacheName, key) {
  const cache = await caches.open(cacheName);
  const fresh = fetch(event.request).then(async (response) => {
    if (response.ok) await cache.put(key, response.clone()).catch(() => undefined); // the phone may be full
    return response;
  });
  event.waitUntil(fresh.catch(() => undefined));
  const cached = await cache.match(key);
  if (!cached) return fresh;
  const late = new Promise((resolve) => setTimeout(resolve, SLOW_MS, cached));
  return Promise.race([fresh.catch(() => cached), late]);
}

/** Send what waits; a rejection makes the browser try again later. */
async function sendInBackground() {
  const { state } = await sendAll();
  if (state !== "done") throw new Error(`the outbox is ${state}`);
}
