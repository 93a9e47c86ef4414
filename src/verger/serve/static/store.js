// The phone's database (IndexedDB): finds with their photos and answers, and a few settings.
//
// A find: {id, created, language, photos: [Blob], thumbnail: Blob, state, answer, problem, posted, observation,
// feedback, isFeedbackSent}. Its id is also the idempotency key of its observation. States: "waiting" (for an
// answer), "answered", "failed" (the service refused the photos), "deleting" (gone for the user; the service still
// has to delete its observation). Old finds keep their thumbnail, but not their photos.

const N_WITH_PHOTOS = 30;

const channel = new BroadcastChannel("verger-finds");
const listeners = new Set();
let opened = null;

channel.addEventListener("message", () => listeners.forEach((listener) => listener()));

/** Call a function after each change of the finds, also by another tab or the service worker. */
export function onChange(listener) {
  listeners.add(listener);
}

function hasChanged() {
  channel.postMessage("changed");
  listeners.forEach((listener) => listener());
}

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("verger", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("finds", { keyPath: "id" });
      request.result.createObjectStore("settings");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Run `work(store)` in a transaction; return the result of the request that `work` returns, after the commit. */
async function transact(name, mode, work) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(name, mode);
    const request = work(transaction.objectStore(name));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

/** Return all finds, the newest first, without those that are being deleted. */
export async function readFinds() {
  return (await readAll()).filter((find) => find.state !== "deleting");
}

/** Return all finds, the newest first, including those that are being deleted. */
export async function readAll() {
  const finds = await transact("finds", "readonly", (store) => store.getAll());
  return finds.sort((a, b) => b.created - a.created);
}

/** Return a find, or undefined. */
export async function readFind(id) {
  const find = await transact("finds", "readonly", (store) => store.get(id));
  return find?.state === "deleting" ? undefined : find;
}

/** Add a find, and drop the photos of old ones. */
export async function addFind(find) {
  await transact("finds", "readwrite", (store) => store.put(find));
  const old = (await readAll()).slice(N_WITH_PHOTOS);
  for (const { id } of old.filter((one) => one.photos.length && one.state === "answered" && !isFeedbackDue(one))) {
    await updateFind(id, { photos: [] });
  }
  hasChanged();
}

/** Change members of a find; return false if it has been removed. */
export async function updateFind(id, changes) {
  let isThere = false;
  await transact("finds", "readwrite", (store) => {
    const request = store.get(id);
    request.onsuccess = () => {
      if (request.result === undefined) return;
      isThere = true;
      const isDeleting = request.result.state === "deleting";
      store.put({ ...request.result, ...changes, ...(isDeleting ? { state: "deleting" } : {}) });
    };
  });
  if (isThere) hasChanged();
  return isThere;
}

/** Remove a find from this phone. */
export async function removeFind(id) {
  await transact("finds", "readwrite", (store) => store.delete(id));
  hasChanged();
}

/** Remove all finds from this phone. */
export async function removeAllFinds() {
  await transact("finds", "readwrite", (store) => store.clear());
  hasChanged();
}

/** Say whether feedback still has to be sent. */
export function isFeedbackDue(find) {
  return Boolean(find.feedback) && !find.isFeedbackSent;
}

/** Return a setting, or undefined. */
export function readSetting(name) {
  return transact("settings", "readonly", (store) => store.get(name));
}

/** Write a setting. */
export function writeSetting(name, value) {
  return transact("settings", "readwrite", (store) => store.put(value, name));
}

/** Return the key of this phone, with which it owns its observations; made at random when first needed. */
export async function ownerKey() {
  const saved = await readSetting("owner");
  if (saved) return saved;
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  const key = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  await writeSetting("owner", key);
  return key;
}
