/** Two pictures of one place, one above the other: a divider is dragged, or moved by keys; or they alternate. */

import { announce, h, uid } from "./dom";

export interface Pair {
  before: Picture;
  after: Picture;
}

export interface Picture {
  source: Promise<string>;
  label: string;
  alt: string;
}

const FLICKER_MS = 900;

export function comparison(pair: Pair): HTMLElement {
  const before = image(pair.before);
  const after = image(pair.after);
  after.classList.add("upper");
  const handle = h("span", { class: "divider", "aria-hidden": "true" });
  const id = uid("swipe");
  const range = h("input", {
    type: "range", min: "0", max: "100", value: "50", step: "1", id,
    "aria-label": `Divider between ${pair.before.label} on the left and ${pair.after.label} on the right`,
  });
  const stage = h("div", { class: "swipe-stage" }, before, after, handle, range);
  const place = (): void => stage.style.setProperty("--at", `${range.value}%`);
  range.addEventListener("input", place);
  place();
  const tags = h(
    "div",
    { class: "swipe-tags" },
    h("span", {}, "◀ ", pair.before.label),
    h("span", {}, pair.after.label, " ▶"),
    h("span", { class: "quiet" }, "hatched: not seen"),
  );
  const root = h("div", { class: "swipe" }, stage, tags);
  root.append(modes(stage, range, pair, place));
  return root;
}

function image(picture: Picture): HTMLImageElement {
  const element = h("img", { alt: picture.alt, decoding: "async", draggable: "false" });
  picture.source.then(
    (url) => {
      element.src = url;
    },
    () => {
      element.alt = `${picture.label}: no picture`;
      element.classList.add("missing");
    },
  );
  return element;
}

/** Buttons: only before, swipe, only after, flicker. */
function modes(stage: HTMLElement, range: HTMLInputElement, pair: Pair, place: () => void): HTMLElement {
  let timer = 0;
  const stop = (): void => window.clearInterval(timer);
  const go = (value: string): void => {
    range.value = value;
    place();
  };
  const choices: [string, () => void][] = [
    ["Before", () => go("100")],
    ["Swipe", () => go("50")],
    ["After", () => go("0")],
    [
      "Flicker",
      () => {
        timer = window.setInterval(() => {
          if (!stage.isConnected) stop();
          go(range.value === "0" ? "100" : "0");
        }, FLICKER_MS);
        announce(`Alternating ${pair.before.label} and ${pair.after.label}`);
      },
    ],
  ];
  const buttons = choices.map(([name, act]) =>
    h(
      "button",
      {
        type: "button",
        "aria-pressed": name === "Swipe" ? "true" : "false",
        onclick: (event: Event) => {
          stop();
          for (const button of buttons) button.setAttribute("aria-pressed", String(button === event.currentTarget));
          act();
        },
      },
      name,
    ),
  );
  range.addEventListener("pointerdown", stop);
  return h("div", { class: "segmented", role: "group", "aria-label": "How to compare" }, buttons);
}
