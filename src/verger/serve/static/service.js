// Requests to the service.

const TIMEOUT_MS = 90_000;
const DEFAULT_RETRY_S = 10;
const BUSY = new Set([429, 502, 503, 504]);

/** There is no network, or no service. */
export class NetworkError extends Error {}

/** The service has too much work; `retryAfterS` says when to ask again. */
export class BusyError extends Error {
  constructor(retryAfterS) {
    super(`busy for ${retryAfterS} s`);
    this.retryAfterS = retryAfterS;
  }
}

/** The service refuses the request; `problem` is its reason: {status, reason, photo}. */
export class RefusedError extends Error {
  constructor(problem) {
    super(`refused: ${JSON.stringify(problem)}`);
    this.problem = problem;
  }
}

/** Send a request; return the JSON of the answer, or null. Raises NetworkError, BusyError or RefusedError. */
async function request(path, { method = "GET", body, headers = {}, signal } = {}) {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  let response;
  try {
    response = await fetch(path, {
      method,
      body,
      headers: Object.fromEntries(Object.entries(headers).filter(([, value]) => value)),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      credentials: "omit",
    });
    if (response.ok) return response.status === 204 ? null : await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new NetworkError(String(error));
  }
  if (BUSY.has(response.status)) throw new BusyError(retryAfter(response));
  const problem = await response.json().catch(() => ({}));
  throw new RefusedError({ status: response.status, reason: problem.reason ?? null, photo: problem.photo ?? null });
}

/** Return the seconds of Retry-After, which may also be a date. */
function retryAfter(response) {
  const value = response.headers.get("Retry-After");
  if (!value) return DEFAULT_RETRY_S;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(3600, Math.max(1, Math.ceil(seconds))) : DEFAULT_RETRY_S;
}

function formOf(photos, fields = {}) {
  const form = new FormData();
  photos.forEach((photo, i) => form.append("photo", photo, `photo-${i + 1}.jpg`));
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return form;
}

/** Ask which fruit a find shows. */
export function identify(find, signal) {
  const headers = { "Accept-Language": find.language, "Idempotency-Key": find.id };
  return request("/v1/identify", { method: "POST", body: formOf(find.photos), headers, signal });
}

/** Let the service keep the photos of a find; the same find again gives the same observation. */
export function keep(find, owner) {
  const headers = {
    Authorization: `Bearer ${owner}`,
    "Accept-Language": find.language,
    "Idempotency-Key": find.id,
  };
  const body = formOf(find.photos, { consent: "true", keep_metadata: "false" });
  return request("/v1/observations", { method: "POST", body, headers });
}

/** Send feedback about an observation; it replaces earlier feedback. */
export function sendFeedback(observation, feedback, owner) {
  return request(`/v1/observations/${observation}/feedback`, {
    method: "POST",
    body: JSON.stringify(feedback),
    headers: { Authorization: `Bearer ${owner}`, "Content-Type": "application/json" },
  });
}

/** Delete an observation, or all observations of this phone; one that is gone is not an error. */
export async function deleteObservation(observation, owner) {
  const path = observation === null ? "/v1/observations" : `/v1/observations/${observation}`;
  try {
    await request(path, { method: "DELETE", headers: { Authorization: `Bearer ${owner}` } });
  } catch (error) {
    if (!(error instanceof RefusedError && error.problem.status === 404)) throw error;
  }
}

/** Return everything about a fruit. */
export function readFruit(id, language) {
  return request(`/v1/fruits/${encodeURIComponent(id)}`, { headers: { "Accept-Language": language } });
}

/** Return the fruits whose names contain a text: {items, total}. */
export function searchFruits(query, language, signal) {
  const path = `/v1/fruits?q=${encodeURIComponent(query)}&limit=100`;
  return request(path, { headers: { "Accept-Language": language }, signal });
}

/** Say whether the service can be reached. */
export async function isReachable() {
  try {
    await request("/healthz");
    return true;
  } catch (error) {
    return !(error instanceof NetworkError);
  }
}
