// Sending of what waits on the phone: deletions, photos, feedback. The page and the service worker both call it.

import * as service from "./service.js";
import * as store from "./store.js";

// Only one tab or the service worker sends at a time.
const LOCK = "verger-outbox";

let running = null;

/** Send everything that waits. Returns {state: "done" | "offline" | "busy", retryAfterS}. */
export function sendAll() {
  return navigator.locks.request(LOCK, async () => {
    try {
      await sendDeletions();
      for (const { id } of await store.readFinds()) await sendFind(id);
      return { state: "done" };
    } catch (error) {
      if (error instanceof service.NetworkError) return { state: "offline" };
      if (error instanceof service.BusyError) return { state: "busy", retryAfterS: error.retryAfterS };
      throw error;
    }
  });
}

/** Stop the request of a find. */
export function stop(id) {
  if (running?.id === id) running.controller.abort();
}

/** Delete a find: at once for the user, and at the service as soon as it can be reached. */
export async function deleteFind(id) {
  const find = await store.readFind(id);
  if (!find) return;
  stop(id);
  if (find.posted) await store.updateFind(id, { state: "deleting" });
  else await store.removeFind(id);
}

/** Delete all finds, and all observations of this phone. */
export async function deleteAllFinds() {
  if (await store.readSetting("owner")) await store.writeSetting("is-deleting-all", true);
  if (running) stop(running.id);
  await store.removeAllFinds();
}

async function sendDeletions() {
  if (await store.readSetting("is-deleting-all")) {
    await service.deleteObservation(null, await store.ownerKey());
    await store.writeSetting("is-deleting-all", false);
  }
  for (const find of (await store.readAll()).filter((one) => one.state === "deleting")) {
    await deleteAtService(find).catch(ignoreRefusal);
    await store.removeFind(find.id);
  }
}

/** Delete the observation of a find. If the answer that named it was lost, ask for the name again. */
async function deleteAtService(find) {
  const owner = await store.ownerKey();
  const observation = find.observation ?? (await service.keep(find, owner)).id;
  await service.deleteObservation(observation, owner);
}

function ignoreRefusal(error) {
  if (!(error instanceof service.RefusedError)) throw error;
}

/** Send the photos and the feedback of a find, as far as they wait. */
async function sendFind(id) {
  const find = await store.readFind(id); // it may have been deleted or sent since it was listed
  if (find?.state === "waiting") await askFor(find);
  else if (find?.state === "answered" && store.isFeedbackDue(find)) await sendFeedbackOf(find);
}

async function askFor(find) {
  running = { id: find.id, controller: new AbortController() };
  try {
    const answer = await service.identify(find, running.controller.signal);
    await store.updateFind(find.id, { state: "answered", answer });
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof service.RefusedError)) throw error;
    await store.updateFind(find.id, { state: "failed", problem: error.problem });
  } finally {
    running = null;
  }
}

async function sendFeedbackOf(find) {
  const owner = await store.ownerKey();
  try {
    let { observation } = find;
    if (!observation) {
      await store.updateFind(find.id, { posted: true });
      observation = (await service.keep(find, owner)).id;
      await store.updateFind(find.id, { observation });
    }
    await service.sendFeedback(observation, find.feedback, owner);
    // The user may have changed the feedback in the meantime; then it is still due.
    const now = await store.readFind(find.id);
    const isSent = JSON.stringify(now?.feedback) === JSON.stringify(find.feedback);
    if (isSent) await store.updateFind(find.id, { isFeedbackSent: true });
  } catch (error) {
    if (!(error instanceof service.RefusedError)) throw error;
    await store.updateFind(find.id, { feedback: null, feedbackProblem: error.problem });
  }
}
