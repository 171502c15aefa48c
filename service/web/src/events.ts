/** Dated events from outside beside the site's own timeline: what was claimed, and whether it could be tested. */

import { ApiError, get, pages, request, send } from "./api";
import { append, h, replace } from "./dom";
import type { Span } from "./timeline";
import { toast } from "./toast";
import { className, date, plural, reason, shortDate } from "./words";

interface DatedEvent {
  id: string;
  label: string;
  kind: string;
  window: { start: string; end: string };
  lag_days: [number, number];
  source: string;
  source_url: string | null;
  note: string;
}

interface NearChange {
  id: string;
  change_type: string;
  direction: string;
  last_absent: string;
  first_seen: string;
}

interface Tested {
  event: string;
  label: string;
  window: { start: string; end: string };
  verdict: "co_occurs" | "not_distinguished" | "not_testable" | "excluded";
  reason: string | null;
  statement: string;
  looks: { datetime: string; clear: boolean; reason: string | null }[];
  changes: NearChange[];
  lag_days: [number, number] | null;
  p_value: number | null;
  p_adjusted: number | null;
  power: number | null;
  posted_before_seen: boolean;
}

interface Corroboration {
  events: Tested[];
  joint: { statement: string; p_value: number | null } | null;
  control: { statement: string } | null;
  notes: string[];
  events_removed: number;
}

const VERDICTS: Record<Tested["verdict"], [string, string]> = {
  co_occurs: ["agrees in time", "calm"],
  not_distinguished: ["no more than chance", "plain"],
  not_testable: ["not testable", "blind"],
  excluded: ["left out", "plain"],
};

/** Looks there were, but too few, or met by changes too often: the reason the statement of the service can leave out. */
const NO_POWER = "Not testable by itself: too few clear looks, or changes too often, for even a true match to be told from chance. That is neither yes nor no.";

const DAY_MS = 86_400_000;

export class EventsPanel {
  readonly element = h("section", { class: "events", "aria-labelledby": "events-title" });
  private readonly said = h("div", { class: "event-list" });

  constructor(
    private readonly site: string,
    private readonly show: (spans: Span[]) => void,
    private readonly open: (change: string) => void,
  ) {
    append(this.element, [
      h("h2", { id: "events-title" }, "Dated events"),
      h("p", { class: "note" }, "Shipments, claims, articles: set beside the timeline, and tested against chance where the looks allow it. Agreement in time is no proof of a cause."),
      this.said,
      this.form(),
    ]);
  }

  async load(): Promise<void> {
    const here = `/sites/${this.site}`;
    try {
      const events: DatedEvent[] = [];
      for await (const page of pages<{ events: DatedEvent[]; links: { rel: string; href: string }[] }>(`${here}/events?limit=1000`)) {
        events.push(...page.events);
      }
      this.show(events.map((event) => ({ id: event.id, label: event.label, ...event.window, tested: testedIn(event) })));
      const found = events.length ? await get<Corroboration>(`${here}/corroboration`) : null;
      this.tell(events, found);
    } catch (error) {
      const gone = error instanceof ApiError && (error.status === 404 || error.status === 405);
      this.element.hidden = gone && !(error as ApiError).code.startsWith("no-report");
      replace(this.said, h("p", { class: "quiet" }, (error as Error).message));
    }
  }

  private tell(events: DatedEvent[], found: Corroboration | null): void {
    this.element.classList.toggle("none", !events.length);
    if (!events.length) {
      replace(this.said, h("p", { class: "quiet" }, "None yet. Add one below to see whether it could be tested here."));
      return;
    }
    const tested = new Map((found?.events ?? []).map((event) => [event.event, event]));
    replace(
      this.said,
      h("ul", { class: "cards" }, events.map((event) => h("li", {}, this.card(event, tested.get(event.id))))),
      found?.joint && h("p", {}, h("b", {}, "All together: "), found.joint.statement),
      found && found.events_removed > 0 && h("p", { class: "note" }, `${plural(found.events_removed, "event")} of this site ${found.events_removed === 1 ? "was" : "were"} withdrawn.`),
      found?.control && h("p", { class: "note" }, found.control.statement),
      found && found.notes.length > 0 && h("details", {}, h("summary", {}, "How this is tested"), h("ul", {}, found.notes.map((note) => h("li", {}, note)))),
    );
  }

  private card(event: DatedEvent, tested: Tested | undefined): HTMLElement {
    const [words, kind] = tested ? VERDICTS[tested.verdict] : ["not tested yet", "plain"];
    return h(
      "article",
      { class: `event-card ${kind}` },
      h("h3", {}, event.label, " ", h("span", { class: "badge" }, words)),
      h("p", { class: "quiet" }, span(event.window), " · ", event.source_url ? h("a", { href: event.source_url, rel: "noreferrer noopener", target: "_blank" }, event.source) : event.source),
      event.note && h("p", {}, event.note),
      tested && h("p", {}, tested.reason === "no_power" ? NO_POWER : tested.statement),
      tested &&
        h(
          "p",
          { class: "quiet" },
          [
            tested.lag_days ? lag(...tested.lag_days) : null,
            `${plural(tested.looks.filter((look) => look.clear).length, "clear look")} of ${tested.looks.length} in the window`,
            tested.posted_before_seen ? "posted before any report reached into it" : "posted after a report had reached into it",
          ]
            .filter(Boolean)
            .join(" · "),
        ),
      tested && tested.looks.some((look) => !look.clear) &&
        h("p", { class: "quiet" }, "Not seen: ", tested.looks.filter((look) => !look.clear).map((look) => `${shortDate(look.datetime)} (${reason(look.reason)})`).join(", ")),
      tested && tested.changes.length > 0 &&
        h("p", {}, tested.changes.slice(0, 8).map((change) => h("button", { type: "button", class: "link", onclick: () => this.open(change.id) }, `${className(change.change_type)} ${change.direction}, ${shortDate(change.last_absent)} – ${shortDate(change.first_seen)}`))),
      this.removal(event),
    );
  }

  /** Asked twice, because what was claimed before anybody looked cannot be claimed again. */
  private removal(event: DatedEvent): HTMLElement {
    const button = h("button", { type: "button", class: "link" }, "Remove");
    let asked = false;
    button.addEventListener("click", () => {
      if (asked) void this.remove(event);
      asked = true;
      button.textContent = "Remove for good?";
    });
    button.addEventListener("blur", () => {
      asked = false;
      button.textContent = "Remove";
    });
    return button;
  }

  private async remove(event: DatedEvent): Promise<void> {
    try {
      await request(`/sites/${this.site}/events/${event.id}`, { method: "DELETE" });
      await this.load();
    } catch (error) {
      toast(`The event was not removed: ${(error as Error).message}`, null);
    }
  }

  private form(): HTMLElement {
    const said = h("p", { class: "fault", role: "alert" });
    const form = h(
      "form",
      {
        class: "event-form",
        onsubmit: (event: Event) => {
          event.preventDefault();
          void this.add(form, said);
        },
      },
      field("What", h("input", { name: "label", required: true, maxlength: "200", placeholder: "Shipment of 12 trucks" })),
      field("Kind, in your own word", h("input", { name: "kind", required: true, maxlength: "64", value: "claim" })),
      field("Date, or the first", h("input", { name: "first", type: "date", required: true })),
      field("Last date, if several", h("input", { name: "last", type: "date" })),
      field("Uncertain by, days", h("input", { name: "uncertainty", type: "number", min: "1", max: "366", value: "1", required: true })),
      field("Looked for from, days after", h("input", { name: "soonest", type: "number", min: "-3660", max: "3660", value: "0", required: true })),
      field("to, days after", h("input", { name: "latest", type: "number", min: "-3660", max: "3660", value: "30", required: true })),
      field("Who says so, and where", h("input", { name: "source", required: true, maxlength: "1000", placeholder: "Newspaper, 16 July 2023" })),
      field("Link to it", h("input", { name: "source_url", type: "url", maxlength: "2000", placeholder: "https://" })),
      h("label", { class: "tick" }, h("input", { type: "checkbox", name: "imagery" }), " derived from pictures itself"),
      h("p", { class: "note" }, "When it is looked for is fixed once the event is added: a window chosen after looking proves nothing."),
      h("button", { type: "submit" }, "Add event"),
      said,
    );
    return h("details", {}, h("summary", {}, "Add an event"), form);
  }

  private async add(form: HTMLFormElement, said: HTMLElement): Promise<void> {
    const data = new FormData(form);
    const text = (name: string): string => String(data.get(name) ?? "");
    said.textContent = "";
    try {
      await send("POST", `/sites/${this.site}/events`, {
        label: text("label"),
        kind: text("kind"),
        when: text("last") ? `${text("first")}/${text("last")}` : text("first"),
        uncertainty_days: Number(text("uncertainty")),
        lag_days: [Number(text("soonest")), Number(text("latest"))],
        source: text("source"),
        source_url: text("source_url") || null,
        derived_from_imagery: data.has("imagery"),
      });
      form.reset();
      await this.load();
    } catch (error) {
      said.textContent = (error as Error).message;
    }
  }
}

/** When a change is looked for: the event's days, moved by its lag. */
function testedIn(event: DatedEvent): [string, string] {
  const moved = (text: string, days: number): string => new Date(Date.parse(text) + days * DAY_MS).toISOString();
  return [moved(event.window.start, event.lag_days[0]), moved(event.window.end, event.lag_days[1])];
}

/** When the change that fits best came, counted from the event: an interval, which may begin before it. */
function lag(low: number, high: number): string {
  const side = (days: number): string => `${plural(Math.abs(Math.round(days)), "day")} ${days < 0 ? "before" : "after"} it`;
  return `the best fit came between ${side(low)} and ${side(high)}`;
}

function span(window: { start: string; end: string }): string {
  const [from, to] = [date(window.start), date(window.end)];
  return from === to ? from : `between ${from} and ${to}`;
}

function field(words: string, control: HTMLElement): HTMLElement {
  return h("label", { class: "field" }, h("span", {}, words), control);
}
