// Copies text with or without permission to use the clipboard.

import { byId, el } from "./dom.js";
import { toast } from "./toast.js";

export async function copyPath(path) {
  if ((await byPermission(path)) || byCommand(path)) toast(`Copied ${path}`);
  else byHand(path);
}

async function byPermission(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // denied, or unavailable because the page was not loaded over https
  }
}

function byCommand(text) {
  const focused = document.activeElement;
  const area = el("textarea", { value: text, className: "unseen", readOnly: true });
  document.body.append(area);
  area.select();
  let copied = false;
  try {
    copied = document.execCommand("copy");
  } catch {
    copied = false;
  }
  area.remove();
  focused?.focus();
  return copied;
}

function byHand(text) {
  byId("copy-text").value = text;
  byId("copy-dialog").showModal();
  byId("copy-text").select();
}
