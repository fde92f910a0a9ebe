// One picture's card: what it looks like in each state. What it does is in work.js.

import { altAttribute, copy } from "./copy.js";
import { count, plainly, share, timing } from "./words.js";

const COPIED_MS = 1600;

/** A card's state is "chosen", "working", "done" or "failed"; its style sheet and the page read it. */
export class Card {
  /** @param handlers functions `remove`, `again` and `others`, called with the card; `say`, with a text */
  constructor(file, handlers) {
    this.file = file;
    this.answer = null;
    this.element = document.getElementById("card").content.firstElementChild.cloneNode(true);
    this.handlers = handlers;
    this.#part(".name").textContent = file.name;
    this.#showPicture();
    this.note("Not captioned yet.");
    this.#button("remove").setAttribute("aria-label", `Remove ${file.name}`);
    this.element.addEventListener("click", (event) => this.#onClick(event));
  }

  get state() {
    return this.element.dataset.state;
  }

  working(note) {
    this.#become("working", note);
  }

  /** Back to where it can be sent again, with a word why. */
  waits(note) {
    this.#become("chosen", note);
  }

  done(answer, sent) {
    this.answer = answer;
    this.#become("done", "");
    this.#part(".caption").textContent = answer.caption;
    this.#part(".picture").alt = answer.caption;
    this.#part(".actions").hidden = this.#part(".sure").hidden = false;
    this.#part(".shaded").replaceChildren(...answer.tokens.map(shaded));
    const whole = `The whole sentence: ${share(answer.log_probability)}.`;
    this.#part(".timing").textContent = `${whole} ${timing(answer, this.file, sent)}`;
  }

  failed(problem) {
    this.#become("failed", plainly(problem, this.file));
    this.#button("again").hidden = false;
  }

  /** Below the caption: what is going on with the other captions, or why there are none. */
  note(text) {
    this.#part(".note").textContent = text;
  }

  others(answer) {
    this.note("");
    const captions = [answer, ...(answer.alternatives ?? [])];
    this.#part(".others ol").replaceChildren(...captions.map((one) => this.#other(one)));
    this.#part(".others").hidden = false;
    this.#button("others").setAttribute("aria-expanded", "true");
    this.handlers.say(`${count(captions.length, "caption")}, likeliest first.`);
  }

  /** Give the keyboard to what the card has to say. */
  focus() {
    const target = { done: ".caption", failed: '[data-do="again"]' }[this.state] ?? '[data-do="remove"]';
    this.#part(target).focus();
  }

  remove() {
    URL.revokeObjectURL(this.#part(".picture").src);
    this.element.remove();
  }

  #become(state, note) {
    this.element.dataset.state = state;
    this.note(note);
    this.#button("again").hidden = true;
  }

  #showPicture() {
    const picture = this.#part(".picture");
    picture.alt = `Your picture ${this.file.name}`;
    picture.addEventListener("error", () => (picture.hidden = true)); // the symbol behind it shows
    picture.src = URL.createObjectURL(this.file);
  }

  #other(one) {
    const row = document.getElementById("other").content.firstElementChild.cloneNode(true);
    row.querySelector(".text").textContent = one.caption;
    row.querySelector(".gauge").style.setProperty("--share", Math.exp(one.log_probability));
    row.querySelector(".share").textContent = share(one.log_probability);
    const button = row.querySelector("button");
    button.setAttribute("aria-label", `Copy: ${one.caption}`);
    button.addEventListener("click", () => this.#copy(button, one.caption));
    return row;
  }

  #onClick(event) {
    const button = event.target.closest("[data-do]");
    const caption = this.answer?.caption;
    switch (button?.dataset.do) {
      case "text": return this.#copy(button, caption);
      case "alt": return this.#copy(button, altAttribute(caption));
      case "others": return this.#toggleOthers(button);
      case "again": return this.handlers.again(this);
      case "remove": return this.handlers.remove(this);
    }
  }

  #toggleOthers(button) {
    const list = this.#part(".others");
    if (!list.querySelector("li")) return this.handlers.others(this);
    list.hidden = !list.hidden;
    button.setAttribute("aria-expanded", String(!list.hidden));
  }

  async #copy(button, text) {
    const copied = await copy(text);
    this.handlers.say(copied ? `Copied: ${text}` : "The browser does not let this page copy.");
    if (!copied || button.dataset.copied) return;
    const label = button.textContent;
    button.dataset.copied = "";
    button.textContent = "Copied";
    setTimeout(() => {
      delete button.dataset.copied;
      button.textContent = label;
    }, COPIED_MS);
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }

  #button(name) {
    return this.#part(`[data-do="${name}"]`);
  }
}

/** A word, the more shaded the less the model was sure of it. */
function shaded(token) {
  const word = document.createElement("span");
  const text = document.createElement("b");
  const percent = document.createElement("small");
  text.textContent = token.text;
  percent.textContent = share(token.log_probability);
  word.append(text, " ", percent);
  word.style.setProperty("--doubt-share", (1 - Math.exp(token.log_probability)).toFixed(2));
  return word;
}
