// Accepts a sound file that is dropped anywhere on the page, pasted, or chosen.

import { byId } from "./dom.js";

export function acceptFiles(take) {
  const overlay = byId("drop");
  let depth = 0; // dragenter and dragleave fire for every element under the pointer
  const show = (isShown) => {
    overlay.hidden = !isShown;
    if (!isShown) depth = 0;
  };
  addEventListener("dragenter", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    depth += 1;
    show(true);
  });
  addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) show(false);
  });
  addEventListener("dragover", (event) => hasFile(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault(); // otherwise the browser would leave the page and open the file
    show(false);
    first(event.dataTransfer.files, take);
  });
  addEventListener("paste", (event) => first(event.clipboardData?.files, take));
  byId("choose").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", (event) => {
    first(event.target.files, take);
    event.target.value = ""; // so that the same file can be chosen again
  });
}

const hasFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

function first(files, take) {
  if (files?.length) take(files[0]);
}
