// When the page sends what waits: at once, when the network is back, and again after a while.

import { sendAll } from "./outbox.js";

const FIRST_RETRY_S = 5;
const LAST_RETRY_S = 300;

const listeners = new Set();
let status = { state: "idle", until: 0 };
let running = null;
let isWantedAgain = false;
let retryS = FIRST_RETRY_S;
let timer = 0;

/** Return {state: "idle" | "sending" | "offline" | "busy", until: time of the next attempt, ms}. */
export function queueStatus() {
  return status;
}

/** Call a function after each change of the status. */
export function onStatus(listener) {
  listeners.add(listener);
}

/** Note that there is no network, or that it is back. */
export function setOffline(isOffline) {
  if (isOffline && status.state !== "offline") setStatus({ state: "offline", until: 0 });
  if (!isOffline && status.state === "offline") setStatus({ state: "idle", until: 0 });
}

/** Send everything that waits; a call during another one makes it start again. */
export function send() {
  if (running) {
    isWantedAgain = true;
    return running;
  }
  clearTimeout(timer);
  running = attempt().finally(() => {
    running = null;
    if (isWantedAgain) {
      isWantedAgain = false;
      send();
    }
  });
  return running;
}

async function attempt() {
  const wasOffline = status.state === "offline";
  if (!wasOffline) setStatus({ state: "sending", until: 0 });
  const { state, retryAfterS } = await sendAll();
  if (state === "done") {
    retryS = FIRST_RETRY_S;
    setStatus({ state: "idle", until: 0 });
    return;
  }
  const waitS = state === "busy" ? retryAfterS : retryS;
  if (state === "offline") {
    retryS = Math.min(LAST_RETRY_S, 2 * retryS);
    await askForSync();
  }
  timer = setTimeout(send, waitS * 1000);
  setStatus({ state, until: Date.now() + waitS * 1000 });
}

/** Ask the browser to wake the service worker when the network is back, where browsers can do that. */
async function askForSync() {
  try {
    const registration = await navigator.serviceWorker?.getRegistration();
    await registration?.sync?.register("outbox");
  } catch {
    // Not allowed, or not there: the page sends when it is open.
  }
}

function setStatus(next) {
  status = next;
  listeners.forEach((listener) => listener());
}
