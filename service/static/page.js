// The page: pictures come in, "Generate caption" sends them, their cards show what came back.

import { Card } from "./card.js";
import { useKey } from "./client.js";
import { watchIntake } from "./intake.js";
import { abandon, captionCard, fetchOthers } from "./work.js";
import { count } from "./words.js";

const [work, list, generate, clear, progress, bar, barText, key, keyValue, keyWhy, choose, status] = [
  "work", "cards", "generate", "clear", "progress", "progress-bar", "progress-text",
  "key", "key-value", "key-why", "choose", "status",
].map((id) => document.getElementById(id));

let cards = [];
let sentInRun = []; // the cards that "Generate caption" was last pressed for
let keyTried = false;
let afterKey = () => {}; // what was refused for want of a key

function say(text) {
  status.textContent = text;
}

function take(files) {
  const fresh = files.map((file) => new Card(file, { remove, again: (card) => run([card]), others, say }));
  cards.push(...fresh);
  list.append(...fresh.map((card) => card.element));
  update();
  generate.focus();
  say(`${count(files.length, "picture")} added.`);
}

async function run(chosen) {
  sentInRun = [...sentInRun.filter((card) => card.state === "working"), ...chosen];
  const mine = chosen.map(async (card) => {
    await captionCard(card).catch(() => askForKey(generateAll));
    update();
    if (cards.includes(card) && card.state !== "chosen") say(spoken(card));
  });
  update();
  await Promise.all(mine);
  const lostFocus = document.activeElement === document.body || document.activeElement === generate;
  if (lostFocus && generate.hidden && key.hidden) chosen.find((card) => cards.includes(card))?.focus();
}

function spoken(card) {
  const text = card.state === "done" ? card.answer.caption : card.element.querySelector(".note").textContent;
  return sentInRun.length > 1 ? `${barText.textContent}. ${card.file.name}: ${text}` : text;
}

function generateAll() {
  const chosen = cards.filter((card) => card.state === "chosen");
  if (chosen.length) run(chosen);
}

async function others(card) {
  await fetchOthers(card).catch(() => askForKey(() => others(card)));
}

function remove(card) {
  abandon(card);
  card.remove();
  const place = cards.indexOf(card);
  cards.splice(place, 1);
  sentInRun = sentInRun.filter((other) => other !== card);
  update();
  say(`${card.file.name} removed.`);
  const neighbour = cards[place] ?? cards[place - 1];
  if (neighbour) neighbour.element.querySelector('[data-do="remove"]').focus();
  else choose.focus();
}

function startOver() {
  for (const card of cards) {
    abandon(card);
    card.remove();
  }
  cards = [];
  sentInRun = [];
  update();
  say("All pictures removed.");
  choose.focus();
}

/** Bring buttons and progress up to date with the cards. */
function update() {
  const waiting = cards.filter((card) => card.state === "chosen").length;
  const busy = cards.some((card) => card.state === "working");
  work.hidden = !cards.length;
  document.body.classList.toggle("has-pictures", cards.length > 0);
  generate.hidden = !waiting && !busy;
  generate.setAttribute("aria-disabled", String(!waiting));
  generate.textContent = waiting ? `Generate ${waiting === 1 ? "caption" : `${waiting} captions`}` : "Captioning…";
  showProgress();
}

function showProgress() {
  const all = sentInRun.length;
  const working = sentInRun.filter((card) => card.state === "working").length;
  const done = sentInRun.filter((card) => card.state === "done").length;
  progress.hidden = !all;
  bar.hidden = all < 2 || !working;
  bar.max = all || 1;
  bar.value = all - working;
  const captioned = `${done === all ? "" : `${done} of `}${count(all, "picture")} captioned`;
  barText.textContent = working ? `${all - working} of ${all} ready` : captioned;
}

function askForKey(next) {
  afterKey = next;
  if (key.contains(document.activeElement)) return; // somebody is typing: the cursor stays where it is
  if (keyTried) keyWhy.textContent = "That key was not accepted. Is it complete?";
  key.hidden = false;
  keyValue.focus();
  keyValue.select();
}

key.addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(keyValue.value.trim());
  keyTried = true;
  key.hidden = true;
  generate.focus();
  afterKey();
});
generate.addEventListener("click", generateAll);
clear.addEventListener("click", startOver);
watchIntake(take, say);
update();
