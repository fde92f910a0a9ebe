// Waits its turn, and comes back when the service says it was too busy.

const MOST_TRIES = 30;
const NOT_AGAIN = new Set(["worker-lost", "inference-failed", "internal"]); // the picture may be to blame
const MOST_AT_ONCE = 4; // enough to fill the service's batches, few enough to leave room for others

let running = 0;
const waiting = [];

/** Run `work` once fewer than MOST_AT_ONCE others run. */
export async function inTurn(work) {
  while (running >= MOST_AT_ONCE) await new Promise((next) => waiting.push(next));
  running += 1;
  try {
    return await work();
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

/** Try again whenever the service gives a time to come back; `onWait(problem, seconds)` counts down to it. */
export async function withPatience(attempt, onWait, signal) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt();
    } catch (problem) {
      const hopeless = problem.retryAfter == null || NOT_AGAIN.has(problem.code);
      if (hopeless || tries === MOST_TRIES) throw problem;
      for (let left = Math.max(1, problem.retryAfter); left > 0; left -= 1) {
        onWait(problem, left);
        await pause(1000, signal);
      }
    }
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
