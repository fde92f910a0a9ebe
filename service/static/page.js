"use strict";

const picture = document.getElementById("picture");
const send = document.getElementById("send");
const preview = document.getElementById("preview");
const caption = document.getElementById("caption");

function say(text, failed = false) {
  caption.textContent = text;
  caption.classList.toggle("failed", failed);
}

picture.addEventListener("change", () => {
  const file = picture.files[0];
  URL.revokeObjectURL(preview.src);
  send.disabled = preview.hidden = !file;
  say("");
  if (file) preview.src = URL.createObjectURL(file);
});

document.getElementById("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = new FormData();
  body.append("image", picture.files[0]);
  send.disabled = true;
  say("Looking…");
  try {
    const response = await fetch("caption", { method: "POST", body });
    const answer = await response.json();
    if (response.ok) {
      preview.alt = answer.caption;
      say(answer.caption);
    } else {
      say(`${answer.title}: ${answer.detail}.`, true);
    }
  } catch {
    say("The service cannot be reached.", true);
  } finally {
    send.disabled = false;
  }
});
