/** Elements made in one line; never from markup, so that no text of a server or file is ever parsed as HTML. */

export type Child = Node | string | number | null | undefined | false | Child[];

interface Props {
  [name: string]: unknown;
}

const SVG = "http://www.w3.org/2000/svg";

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), props, children);
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill<E extends HTMLElement | SVGElement>(element: E, props: Props, children: Child[]): E {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value as EventListener);
    } else if (name === "vars") {
      for (const [key, text] of Object.entries(value as Record<string, string>)) {
        element.style.setProperty(key, text);
      }
    } else if (name === "value" && "value" in element && !(element instanceof HTMLInputElement)) {
      // Of an input the attribute is meant, which is what a form goes back to when it is reset.
      (element as { value: unknown }).value = value;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(element, children);
  return element;
}

export function append(parent: Node, children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(parent, child);
    else parent.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export function replace(parent: Element, ...children: Child[]): void {
  parent.replaceChildren();
  append(parent, children);
}

/** Text of a heading's size for screen readers only. */
export function hidden(text: string): HTMLSpanElement {
  return h("span", { class: "unseen-text" }, text);
}

const live = h("div", { class: "unseen-text", role: "status", "aria-live": "polite" });

/** Say something to a screen reader; put into the page once by the shell. */
export function announce(text: string): void {
  live.textContent = "";
  window.setTimeout(() => {
    live.textContent = text;
  }, 60);
}

export function liveRegion(): HTMLElement {
  return live;
}

let counter = 0;

export function uid(prefix: string): string {
  counter += 1;
  return `${prefix}-${counter}`;
}

/** Run at most once per frame. */
export function perFrame(work: () => void): () => void {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

/** Run when the last call is `ms` ago. */
export function later<A extends unknown[]>(ms: number, work: (...args: A) => void): (...args: A) => void {
  let timer = 0;
  return (...args) => {
    window.clearTimeout(timer);
    timer = window.setTimeout(() => work(...args), ms);
  };
}
