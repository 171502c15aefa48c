/** One change: before and after, when, how sure and what speaks against it; and what a person thinks of it. */

import { ApiError, download, get, picture, request, send } from "./api";
import { announce, append, h, replace } from "./dom";
import { comparison } from "./swipe";
import { symbol } from "./symbols";
import type { Change, ChangeDetail, Look, Review } from "./types";
import { area, className, count, date, EVIDENCE, heading, interval, metres, moment, onset, onsetEnds, percent, plural, shortDate, STATUSES } from "./words";

/** A verdict is sent after this long, so that a slip of the finger leaves no trace in the history. */
const UNDO_MS = 6000;

export interface ReviewWish {
  verdict: Review["verdict"];
  class: string | null;
  note: string;
}

/** Verdicts on their way: kept back a moment, sent at once when the page is left. */
export class Reviewer {
  private waiting: { change: Change; wish: ReviewWish; timer: number; undo: () => void } | null = null;

  constructor(
    private readonly reviews: Map<string, Review>,
    private readonly tell: (text: string, undo: (() => void) | null) => void,
    private readonly changed: () => void,
  ) {
    window.addEventListener("pagehide", () => void this.flush(true));
  }

  give(change: Change, wish: ReviewWish): void {
    void this.flush();
    const before = this.reviews.get(change.id);
    const now: Review = { ...wish, by: "you", at: new Date().toISOString(), report: "" };
    this.reviews.set(change.id, now);
    this.changed();
    const undo = (): void => {
      window.clearTimeout(this.waiting?.timer);
      this.waiting = null;
      if (before) this.reviews.set(change.id, before);
      else this.reviews.delete(change.id);
      this.changed();
      this.tell(`Undone: ${heading(change)} is as it was.`, null);
    };
    this.waiting = { change, wish, timer: window.setTimeout(() => void this.flush(), UNDO_MS), undo };
    this.tell(`${heading(change)}: ${words(wish)}.`, undo);
  }

  undo(): void {
    if (this.waiting) this.waiting.undo();
    else this.tell("Nothing to undo. A verdict that was sent stays in the history; give another one.", null);
  }

  async flush(leaving = false): Promise<void> {
    const sent = this.waiting;
    if (!sent) return;
    window.clearTimeout(sent.timer);
    this.waiting = null;
    try {
      const body: Record<string, string> = { verdict: sent.wish.verdict, note: sent.wish.note };
      if (sent.wish.class) body.class = sent.wish.class;
      const path = `/changes/${sent.change.id}/review`;
      const made = leaving ? await sendLast(path, body) : await send<Review>("PUT", path, body);
      if (made) this.reviews.set(sent.change.id, made);
    } catch (error) {
      this.reviews.delete(sent.change.id);
      const why = error instanceof ApiError && error.status === 403 ? "your key may not review" : (error as Error).message;
      this.tell(`The verdict was not kept: ${why}.`, null);
    }
    this.changed();
  }
}

async function sendLast(path: string, body: unknown): Promise<null> {
  await request(path, {
    method: "PUT", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, keepalive: true,
  });
  return null;
}

function words(wish: ReviewWish): string {
  if (wish.verdict === "confirmed") return "accepted";
  if (wish.verdict === "rejected") return "rejected";
  return `relabelled as ${className(wish.class ?? "").toLowerCase()}`;
}

export interface ViewContext {
  site: string;
  looks: readonly Look[];
  kinds: readonly string[];
  reviews: Map<string, Review>;
  reviewer: Reviewer;
  place: [number, number];
  close: () => void;
  step: (by: 1 | -1) => void;
}

export class ChangeView {
  readonly element = h("article", { class: "change-view", "aria-labelledby": "change-title" });
  private readonly verdict = h("div", { class: "review" });
  private readonly relabel = h("select", { "aria-label": "Relabel as" });

  constructor(readonly change: Change, private readonly context: ViewContext) {
    append(this.element, [
      this.navigation(), this.title(), this.pictures(), this.verdict, this.when(), this.size(), this.evidence(), this.against(), this.tools(),
    ]);
    this.showReview();
    void this.load();
  }

  /** Keys of a reviewer: a, r, l. */
  key(key: string): boolean {
    const { reviewer } = this.context;
    if (key === "a") reviewer.give(this.change, { verdict: "confirmed", class: null, note: this.note() });
    else if (key === "r") reviewer.give(this.change, { verdict: "rejected", class: null, note: this.note() });
    else if (key === "l") {
      this.relabel.focus();
      announce("Choose a class to relabel as");
    } else return false;
    return true;
  }

  private note(): string {
    return this.element.querySelector<HTMLTextAreaElement>("textarea")?.value.trim() ?? "";
  }

  showReview(): void {
    const review = this.context.reviews.get(this.change.id);
    const note = this.note();
    const pressed = (verdict: string): string => String(review?.verdict === verdict);
    const kinds = this.context.kinds.filter((kind) => kind !== this.change.properties.change_type);
    replace(
      this.relabel,
      h("option", { value: "" }, "Relabel…"),
      kinds.map((kind) => h("option", { value: kind, selected: review?.class === kind }, `as ${className(kind).toLowerCase()}`)),
    );
    this.relabel.onchange = () => {
      if (!this.relabel.value) return;
      this.context.reviewer.give(this.change, { verdict: "relabelled", class: this.relabel.value, note: this.note() });
    };
    replace(
      this.verdict,
      h("h3", {}, "Your verdict"),
      h(
        "div",
        { class: "review-buttons" },
        h("button", { type: "button", class: "accept", "aria-pressed": pressed("confirmed"), "aria-keyshortcuts": "a", onclick: () => this.key("a") }, "Accept ", h("kbd", {}, "a")),
        h("button", { type: "button", class: "reject", "aria-pressed": pressed("rejected"), "aria-keyshortcuts": "r", onclick: () => this.key("r") }, "Reject ", h("kbd", {}, "r")),
        this.relabel,
      ),
      h(
        "details",
        {},
        h("summary", {}, "Add a note"),
        h("label", { class: "field" }, h("span", {}, "Note, sent with the verdict"), h("textarea", { rows: "2", maxlength: "4000", value: note })),
      ),
      review
        ? h("p", { class: "quiet" }, `${words(review)}${review.note ? `: “${review.note}”` : ""}, by ${review.by}, ${moment(review.at)}`)
        : h("p", { class: "quiet" }, "Not reviewed yet. A verdict stands beside the report and never alters it."),
    );
  }

  private async load(): Promise<void> {
    try {
      const detail = await get<ChangeDetail>(`/changes/${this.change.id}`);
      if (!detail.current) {
        this.element.prepend(
          h("p", { class: "notice blind" }, h("b", {}, "Retracted. "), "A later report no longer supports this change. What is shown here is how it was last told."),
        );
      }
      if (detail.review && !this.context.reviews.has(this.change.id)) {
        this.context.reviews.set(this.change.id, detail.review);
        this.showReview();
      }
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) {
        this.element.prepend(h("p", { class: "notice blind" }, "This change is not in any report of the site."));
      }
    }
  }

  private navigation(): HTMLElement {
    const [at, of] = this.context.place;
    return h(
      "nav",
      { class: "change-nav", "aria-label": "Changes" },
      h("button", { type: "button", onclick: this.context.close }, "← All changes"),
      h("span", { class: "quiet" }, at > 0 ? `${at} of ${of}` : "filtered out"),
      h("button", { type: "button", "aria-label": "Previous change", "aria-keyshortcuts": "k", onclick: () => this.context.step(-1) }, "↑ ", h("kbd", {}, "k")),
      h("button", { type: "button", "aria-label": "Next change", "aria-keyshortcuts": "j", onclick: () => this.context.step(1) }, "↓ ", h("kbd", {}, "j")),
    );
  }

  private title(): HTMLElement {
    const p = this.change.properties;
    return h(
      "header",
      {},
      h("h2", { id: "change-title", tabindex: "-1" }, symbol(p.change_type, p.direction), heading(this.change)),
      h("p", { class: "statement" }, p.statement ?? `${heading(this.change)} ${onset(this.change)}.`),
      h(
        "p",
        { class: "badges" },
        h("span", { class: "badge" }, `confidence ${percent(p.confidence)}`),
        h("span", { class: "badge" }, STATUSES[p.status] ?? p.status),
      ),
    );
  }

  private look(scene: string | undefined): Look | undefined {
    return this.context.looks.find((look) => look.properties.scene_id === scene);
  }

  private pictures(): HTMLElement {
    const p = this.change.properties;
    if (!p.evidence) {
      return h("p", { class: "notice" }, "No pictures: the licence of the scenes does not allow cut-outs. Numbers and outline stay.");
    }
    const here = `/changes/${this.change.id}`;
    const [before, after] = [this.taken(p.before_scene), this.taken(p.after_scene)];
    return comparison({
      before: { source: picture(`${here}/before.png`), label: before ? shortDate(before) : "Before", alt: `The place${before ? ` on ${date(before)}` : ""}, before: ${heading(this.change)}` },
      after: { source: picture(`${here}/after.png`), label: after ? shortDate(after) : "After", alt: `The same place${after ? ` on ${date(after)}` : ""}, after` },
    });
  }

  /** When a picture was taken; null where its look is not among those of this report: then no date is claimed. */
  private taken(scene: string | undefined): string | null {
    return this.look(scene)?.properties.datetime ?? null;
  }

  private when(): HTMLElement {
    const p = this.change.properties;
    const [first, second] = onsetEnds(p.direction);
    const days = Math.round((Date.parse(p.first_seen) - Date.parse(p.last_absent)) / 86_400_000);
    return section(
      "When",
      h("p", {}, p.direction === "appeared" ? "Appeared " : "Was removed ", h("b", {}, onset(this.change)), `, an interval of ${plural(days, "day")}: nothing tells on which day.`),
      facts([
        [first, moment(p.last_absent)],
        [second, moment(p.first_seen)],
        ["Last clear look that agrees", moment(p.last_seen)],
      ]),
    );
  }

  private size(): HTMLElement {
    const p = this.change.properties;
    const rows: [string, string][] = [];
    if (p.change_type === "container") rows.push(["Objects", p.count === null ? `not counted${p.count_reason ? `: ${p.count_reason}` : ""}` : `${count(this.change)}, 90 % interval`]);
    if (p.area_m2 !== null) rows.push(["Area", `${area(p.area_m2)}${p.area_m2_low !== null ? ` (${interval(p.area_m2_low, p.area_m2_high)})` : ""}`]);
    if (p.length_m !== null) rows.push([p.change_type === "berm" ? "Crest length" : "Length", `${metres(p.length_m)} m`]);
    if (p.width_m !== null) rows.push(["Width", `${metres(p.width_m)} m`]);
    if (p.orientation_deg !== null) rows.push(["Direction", `${Math.round(p.orientation_deg)}° from north`]);
    if (p.gsd !== null) rows.push(["Pixel", `${p.gsd} m`]);
    return section("Size", facts(rows));
  }

  private evidence(): HTMLElement {
    const p = this.change.properties;
    const terms = Object.entries(p.evidence_log_odds ?? {})
      .filter((entry): entry is [string, number] => entry[1] !== null && Math.abs(entry[1]) >= 0.05)
      .sort((one, other) => Math.abs(other[1]) - Math.abs(one[1]));
    const most = Math.max(1, ...terms.map(([, value]) => Math.abs(value)));
    const bars = terms.map(([name, value]) => {
      const share = (Math.abs(value) / most) * 50;
      return h(
        "tr",
        {},
        h("th", { scope: "row" }, EVIDENCE[name] ?? name.replaceAll("_", " ")),
        h("td", { class: "odds" }, h("span", { class: value < 0 ? "bar minus" : "bar plus", vars: { "--share": `${share}%` } })),
        h("td", { class: "num" }, `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(2)}`),
      );
    });
    const shift = p.shift_sensitivity;
    return section(
      "Evidence",
      facts([
        ["Looks for it", String(p.looks_supporting)],
        ["Looks against it", String(p.looks_against)],
        ...(shift === null ? [] : ([["Half a pixel of misregistration takes away", percent(shift)]] as [string, string][])),
        ...(p.platforms?.length ? ([["Sensors", p.platforms.join(", ")]] as [string, string][]) : []),
        ...(p.licences?.length ? ([["Licence of scenes", p.licences.join(", ")]] as [string, string][]) : []),
      ]),
      bars.length > 0 &&
        h(
          "details",
          {},
          h("summary", {}, "What speaks for and against, in log odds"),
          h("table", { class: "odds-table" }, h("caption", { class: "unseen-text" }, "Evidence terms, in log odds"), h("tbody", {}, bars)),
        ),
    );
  }

  private against(): HTMLElement {
    const p = this.change.properties;
    const sentences = p.against ?? [];
    return section(
      "What speaks against it",
      sentences.length
        ? h("ul", { class: "against" }, sentences.map((sentence) => h("li", {}, sentence)))
        : h("p", {}, "No look speaks against it. Vehicles, sheds, tarpaulins, furrows and heaps can still look alike."),
    );
  }

  private tools(): HTMLElement {
    const link = `${location.origin}${location.pathname}#/sites/${this.context.site}/changes/${this.change.id}`;
    return section(
      "Pass on",
      h(
        "p",
        { class: "tools" },
        h("button", { type: "button", onclick: (event: Event) => void copy(link, event.currentTarget as HTMLElement) }, "Copy link"),
        h("button", { type: "button", onclick: () => void download(`/changes/${this.change.id}/provenance`, `provenance-${this.change.id}.json`) }, "Provenance"),
      ),
      h("input", { type: "text", readonly: true, value: link, "aria-label": "Link to this change", class: "share", onfocus: (event: Event) => (event.target as HTMLInputElement).select() }),
      h("p", { class: "print-only" }, link),
    );
  }
}

async function copy(text: string, button: HTMLElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    announce("Link copied");
    button.textContent = "Link copied";
  } catch {
    announce("The browser does not let the page copy; the link stands beside the button");
  }
}

export function section(title: string, ...children: Parameters<typeof append>[1]): HTMLElement {
  return h("section", {}, h("h3", {}, title), children);
}

export function facts(rows: [string, string][]): HTMLElement {
  return h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
