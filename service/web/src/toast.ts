/** One line at the foot of the page, with an undo where there is one. */

import { announce, h, replace } from "./dom";

const SHOWN_MS = 6500;
const place = h("div", { class: "toast", hidden: true });
let timer = 0;

export function toastPlace(): HTMLElement {
  return place;
}

export function toast(text: string, undo: (() => void) | null): void {
  window.clearTimeout(timer);
  replace(place, h("span", {}, text), undo && h("button", { type: "button", "aria-keyshortcuts": "u", onclick: undo }, "Undo ", h("kbd", {}, "u")));
  place.hidden = false;
  announce(undo ? `${text} Press u to undo.` : text);
  timer = window.setTimeout(() => {
    place.hidden = true;
  }, SHOWN_MS);
}
