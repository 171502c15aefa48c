/** The shell: who is asking, where they are, and what the service has to say about both. */

import { ApiError, forgetKey, get, hasKey, keepKey, takeKeyFromAddress, whenWaiting } from "./api";
import { append, h, liveRegion, replace } from "./dom";
import { placeOf, type Page, type Place } from "./places";
import { toastPlace } from "./toast";
import { sentence } from "./words";

const main = h("main", { id: "main" });
const waiting = h("p", { class: "waiting", role: "status", hidden: true });
const keyButton = h("button", { type: "button", class: "link", hidden: true }, "Forget key");
let page: Page | null = null;
let arriving = new AbortController();

function shell(): void {
  append(document.body, [
    h("a", { class: "skip", href: "#main", onclick: (event: Event) => {
      event.preventDefault();
      main.querySelector<HTMLElement>("h1")?.focus();
    } }, "Skip to content"),
    h(
      "header",
      { class: "top" },
      h("a", { class: "brand", href: "#/" }, h("span", { class: "brand-mark", "aria-hidden": "true" }), "depotwatch"),
      h("nav", { "aria-label": "Main" }, link("#/", "Sites"), link("#/jobs", "Jobs"), link("#/add", "Add a site")),
      keyButton,
    ),
    waiting,
    main,
    toastPlace(),
    liveRegion(),
  ]);
  keyButton.addEventListener("click", () => {
    forgetKey();
    askForKey("");
  });
  // Paper is light whatever the screen is; what draws on canvases asks for its colours after this.
  window.addEventListener("beforeprint", () => document.documentElement.toggleAttribute("data-printing", true));
  window.addEventListener("afterprint", () => document.documentElement.toggleAttribute("data-printing", false));
  whenWaiting((seconds) => {
    waiting.hidden = seconds === 0;
    waiting.textContent = seconds ? `The service asks to wait ${Math.ceil(seconds)} s: too many requests at once. It goes on by itself.` : "";
  });
}

function link(href: string, text: string): HTMLElement {
  return h("a", { href, "data-nav": true }, text);
}

function markNavigation(place: Place): void {
  const here = { overview: "#/", site: "#/", versions: "#/", compare: "#/", jobs: "#/jobs", job: "#/jobs", add: "#/add", lost: "" }[place.view];
  for (const anchor of document.querySelectorAll<HTMLAnchorElement>("a[data-nav]")) {
    if (anchor.getAttribute("href") === here) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
}

async function open(place: Place, root: HTMLElement, signal: AbortSignal): Promise<Page> {
  switch (place.view) {
    case "overview":
      return (await import("./overview")).openOverview(root, signal);
    case "site":
      return (await import("./site")).openSite(place, root, signal);
    case "versions":
    case "compare":
      return (await import("./versions")).openVersions(place, root, signal);
    case "jobs":
    case "job":
      return (await import("./jobs")).openJobs(place, root, signal);
    case "add":
      return (await import("./add")).openAdd(root, signal);
    case "lost":
      append(root, [h("section", { class: "empty" }, h("h1", { tabindex: "-1" }, "Nothing here"), h("p", {}, "This address leads nowhere. ", h("a", { href: "#/" }, "All sites")))]);
      return { title: "Nothing here", dispose: () => undefined };
  }
}

async function arrive(): Promise<void> {
  takeKeyFromAddress();
  const place = placeOf(location.hash);
  if (page?.moved?.(place)) return;
  arriving.abort();
  arriving = new AbortController();
  const { signal } = arriving;
  page?.dispose();
  page = null;
  markNavigation(place);
  const root = h("div", { class: `view view-${place.view}` });
  const loading = h("p", { class: "loading", role: "status" }, "Loading…");
  replace(main, loading, root);
  try {
    const made = await open(place, root, signal);
    if (signal.aborted) {
      made.dispose();
      return;
    }
    page = made;
    loading.remove();
    document.title = `${made.title} – depotwatch`;
    keyButton.hidden = !hasKey();
    document.documentElement.dataset.ready = place.view;
    if (!main.contains(document.activeElement)) root.querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
  } catch (error) {
    if (!signal.aborted) refuse(error);
  }
}

function refuse(error: unknown): void {
  if (error instanceof ApiError && error.status === 401) {
    askForKey(hasKey() ? error.message : "");
    return;
  }
  const [title, more] = sorry(error);
  replace(
    main,
    h("section", { class: "empty", role: "alert" }, h("h1", { tabindex: "-1" }, title), h("p", { class: "deck" }, more), h("p", {}, h("button", { type: "button", class: "button", onclick: () => void arrive() }, "Try again"), " ", h("a", { href: "#/" }, "All sites"))),
  );
  document.documentElement.dataset.ready = "error";
}

function sorry(error: unknown): [string, string] {
  if (!(error instanceof ApiError)) return ["Something broke here", error instanceof Error ? error.message : String(error)];
  if (error.status === 0) return ["The service does not answer", "It may have been stopped, or the connection is gone. What you saw before is safe."];
  if (error.status === 403) return ["Your key may not see this", error.message];
  if (error.status === 404) return ["There is nothing here", "It may have been deleted, or belong to someone else."];
  if (error.status === 429) return ["Too many requests", "The service asks for patience. Try again in a few seconds."];
  return ["This did not work", error.message];
}

function askForKey(fault: string): void {
  page?.dispose();
  page = null;
  forgetKey();
  keyButton.hidden = true;
  const input = h("input", { type: "password", name: "key", required: true, autocomplete: "off", spellcheck: "false", id: "key", "aria-describedby": "key-help" });
  const form = h(
    "form",
    {
      onsubmit: (event: Event) => {
        event.preventDefault();
        void tryKey(input.value);
      },
    },
    h("label", { for: "key" }, "Key"),
    input,
    h("button", { type: "submit", class: "primary" }, "Go on"),
  );
  replace(
    main,
    h(
      "section",
      { class: "empty keyhole" },
      h("h1", { tabindex: "-1" }, "Your key, please"),
      fault && h("p", { class: "fault", role: "alert" }, sentence(fault)),
      form,
      h("p", { class: "quiet", id: "key-help" }, "It is kept in this tab only and forgotten when the tab closes. Who runs the service makes keys with ", h("code", {}, "depotwatch keys create"), "."),
    ),
  );
  document.title = "Key – depotwatch";
  document.documentElement.dataset.ready = "key";
  input.focus();
}

async function tryKey(key: string): Promise<void> {
  keepKey(key);
  try {
    await get("/sites?limit=1");
    await arrive();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) askForKey(error.message);
    else refuse(error);
  }
}

shell();
window.addEventListener("hashchange", () => void arrive());
void arrive();
