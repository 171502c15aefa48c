/** A new site: drawn, dropped or typed in; judged by the service while it is made. */

import { append, h } from "./dom";
import type { Page } from "./places";

export async function openAdd(root: HTMLElement, _signal: AbortSignal): Promise<Page> {
  append(root, [h("section", { class: "narrow" }, h("h1", { tabindex: "-1" }, "Add a site"))]);
  return { title: "Add a site", dispose: () => undefined };
}
