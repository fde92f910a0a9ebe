// A card's work: make its picture small where that helps, send it, show what comes back.

import { Problem, caption } from "./client.js";
import { inTurn, withPatience } from "./patience.js";
import { reduce } from "./reduce.js";
import { plainly } from "./words.js";

const FIRST = { tokens: true };
const OTHERS = { beam: 5, n: 4 };

const controllers = new WeakMap();
const copies = new WeakMap(); // what was sent of each file
const asking = new WeakSet(); // cards whose other captions are under way: a second press asks for nothing more

/** Caption a card's picture; throws only a Problem of 401, after which the card can be sent again. */
export async function captionCard(card) {
  card.working("Waiting for its turn…");
  try {
    const answer = await send(card, FIRST, "Looking…", (note) => card.working(note));
    card.done(answer, copies.get(card.file));
  } catch (error) {
    if (error.status === 401) {
      card.waits(plainly(error, card.file));
      throw error;
    }
    if (error.name !== "AbortError") card.failed(error);
  }
}

/** Ask for several captions of a picture that has one; throws only a Problem of 401. */
export async function fetchOthers(card) {
  if (asking.has(card)) return;
  asking.add(card);
  try {
    card.others(await send(card, OTHERS, "Looking for other captions…", (note) => card.note(note)));
  } catch (error) {
    if (error.name !== "AbortError") card.note(plainly(error, card.file));
    if (error.status === 401) throw error;
  } finally {
    asking.delete(card);
  }
}

/** Stop whatever a card is waiting for; the service then stops working on it too. */
export function abandon(card) {
  controllers.get(card)?.abort();
}

async function send(card, query, note, tell) {
  const controller = new AbortController();
  controllers.set(card, controller);
  const { signal } = controller;
  let said = false;
  const busy = (problem, seconds) => {
    const words = `${plainly(problem, card.file)} Trying again by itself`;
    tell(`${words} in ${seconds} s…`);
    if (!said) card.handlers.say(`${words}.`); // a countdown read aloud would never end
    said = true;
  };
  const attempt = () =>
    inTurn(async () => {
      signal.throwIfAborted();
      tell(note);
      return caption(await copyOf(card.file), query, signal);
    });
  return withPatience(attempt, busy, signal);
}

async function copyOf(file) {
  if (!copies.has(file)) {
    await checkOpens(file);
    copies.set(file, await reduce(file));
  }
  return copies.get(file);
}

async function checkOpens(file) {
  const reader = file.stream().getReader();
  try {
    await reader.read();
  } catch {
    throw new Problem("unopened", 0, "the file cannot be opened");
  }
  reader.cancel();
}
