// Puts text on the clipboard, also where the page did not come over HTTPS.

/** Whether the text is on the clipboard now. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // no clipboard object without HTTPS, or no permission
  }
}

function copyBySelection(text) {
  const focused = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "spoken";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return copied;
}

/** The text as an HTML alt attribute. */
export function altAttribute(text) {
  const entities = { "&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;" };
  return `alt="${text.replace(/[&"<>]/g, (character) => entities[character])}"`;
}
