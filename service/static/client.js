// Talks to the service: one picture there, its caption or a Problem back.

let key = "";

/** From now on, send this API key with every picture. It lives in this page's memory and nowhere else. */
export function useKey(value) {
  key = value;
}

/** Why there is no caption. `code` is the last part of the problem's type, or "unreachable". */
export class Problem extends Error {
  constructor(code, status, message, retryAfter = null) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter; // seconds, where the service says when to come again
  }
}

/** Caption one picture; throws a Problem, or an AbortError when the signal says so. Refused for its key, it is sent
 *  again if another key was given meanwhile. */
export async function caption(picture, query, signal) {
  const body = new FormData();
  body.append("image", picture, "picture"); // what the file is called is nobody's business
  const sentWith = key;
  const headers = sentWith ? { "X-API-Key": sentWith } : {};
  let response;
  try {
    response = await fetch(`caption?${new URLSearchParams(query)}`, { method: "POST", body, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("unreachable", 0, "the service cannot be reached");
  }
  if (response.ok) return response.json();
  const problem = await problemOf(response);
  if (problem.status === 401 && sentWith !== key) return caption(picture, query, signal);
  throw problem;
}

async function problemOf(response) {
  const wait = Number.parseInt(response.headers.get("Retry-After"), 10);
  const retryAfter = Number.isNaN(wait) ? null : wait;
  const said = await response.json().catch(() => ({})); // a proxy on the way may answer with HTML
  const code = String(said.type ?? "").split(":").pop();
  return new Problem(code, response.status, said.detail ?? response.statusText, retryAfter);
}
