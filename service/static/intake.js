// The ways in: file chooser, camera, drag and drop, paste, samples. Each ends in `take(files)`.

const veil = document.getElementById("veil");

/** Hand every file that comes in, by whatever way, to `take`; tell `say` when there was none. */
export function watchIntake(take, say) {
  for (const id of ["choose", "camera"]) watchChooser(document.getElementById(id), take);
  watchDrops(take, say);
  watchPaste(take, say);
  for (const button of document.querySelectorAll("[data-sample]")) watchSample(button, take, say);
}

function watchChooser(input, take) {
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = ""; // the same file may be chosen again
  });
}

function watchDrops(take, say) {
  const show = (event) => {
    event.preventDefault(); // otherwise the browser leaves the page for the file
    veil.hidden = !event.dataTransfer.types.includes("Files");
  };
  addEventListener("dragenter", show);
  addEventListener("dragover", show);
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) veil.hidden = true;
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    veil.hidden = true;
    const files = [...event.dataTransfer.files];
    if (files.length) take(files);
    else say("That was not a file. Save the picture first, then drop it here.");
  });
}

function watchPaste(take, say) {
  addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) take(files);
    else if (event.target.tagName !== "INPUT") say("There is no picture on the clipboard.");
  });
}

function watchSample(button, take, say) {
  button.addEventListener("click", async () => {
    const name = `${button.dataset.sample}.jpg`;
    try {
      const response = await fetch(`static/samples/${name}`);
      take([new File([await response.blob()], name, { type: "image/jpeg" })]);
    } catch {
      say("The sample cannot be loaded: the service cannot be reached.");
    }
  });
}
