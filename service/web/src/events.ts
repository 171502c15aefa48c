/** Dated events from outside beside the site's own timeline: what was claimed, and whether it could be tested. */

import { ApiError, get, pages, request, send } from "./api";
import { append, h, replace } from "./dom";
import type { Span } from "./timeline";
import { date, percent, plural, reason, shortDate } from "./words";

interface DatedEvent {
  id: string;
  label: string;
  kind: string;
  window: { start: string; end: string };
  source?: { citation?: string; url?: string };
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
}

interface Corroboration {
  events: Tested[];
  joint: { statement: string; p_value: number | null } | null;
  control: { statement: string } | null;
  notes: string[];
}

const VERDICTS: Record<Tested["verdict"], [string, string]> = {
  co_occurs: ["agrees in time", "calm"],
  not_distinguished: ["no more than chance", "plain"],
  not_testable: ["not testable", "blind"],
  excluded: ["left out", "plain"],
};

const WHY: Record<string, string> = {
  no_clear_look_in_window: "the site had no clear look in the window",
  no_clear_look_before: "the site had no clear look before the event",
  derived_from_imagery: "the event itself comes from imagery",
};

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
      this.show(events.map((event) => ({ id: event.id, label: event.label, ...event.window })));
      const found = events.length ? await get<Corroboration>(`${here}/corroboration`) : null;
      this.tell(events, found);
    } catch (error) {
      const gone = error instanceof ApiError && (error.status === 404 || error.status === 405);
      this.element.hidden = gone && !(error as ApiError).code.startsWith("no-report");
      replace(this.said, h("p", { class: "quiet" }, (error as Error).message));
    }
  }

  private tell(events: DatedEvent[], found: Corroboration | null): void {
    if (!events.length) {
      replace(this.said, h("p", { class: "quiet" }, "None yet. Add one below to see whether it could be tested here."));
      return;
    }
    const tested = new Map((found?.events ?? []).map((event) => [event.event, event]));
    replace(
      this.said,
      h("ul", { class: "cards" }, events.map((event) => h("li", {}, this.card(event, tested.get(event.id))))),
      found?.joint && h("p", {}, h("b", {}, "All together: "), found.joint.statement),
      found?.control && h("p", { class: "note" }, found.control.statement),
      found && found.notes.length > 0 && h("details", {}, h("summary", {}, "How this is tested"), h("ul", {}, found.notes.map((note) => h("li", {}, note)))),
    );
  }

  private card(event: DatedEvent, tested: Tested | undefined): HTMLElement {
    const [words, kind] = tested ? VERDICTS[tested.verdict] : ["not tested yet", "plain"];
    const p = tested?.p_adjusted ?? tested?.p_value ?? null;
    return h(
      "article",
      { class: `event-card ${kind}` },
      h("h3", {}, event.label, " ", h("span", { class: "badge" }, words)),
      h("p", { class: "quiet" }, span(event.window), event.source?.citation ? ` · ${event.source.citation}` : ""),
      tested && h("p", {}, tested.statement),
      tested?.reason && h("p", {}, "Not testable: ", WHY[tested.reason] ?? tested.reason.replaceAll("_", " "), "."),
      tested &&
        h(
          "p",
          { class: "quiet" },
          [
            tested.lag_days ? `lag ${tested.lag_days[0]} to ${tested.lag_days[1]} days` : null,
            p === null ? null : `p = ${p < 0.001 ? "under 0.001" : p.toFixed(3)}`,
            tested.power === null ? null : `would have been noticed with ${percent(tested.power)}`,
            `${plural(tested.looks.filter((look) => look.clear).length, "clear look")} of ${tested.looks.length} in the window`,
          ]
            .filter(Boolean)
            .join(" · "),
        ),
      tested && tested.looks.some((look) => !look.clear) &&
        h("p", { class: "quiet" }, "Not seen: ", tested.looks.filter((look) => !look.clear).map((look) => `${shortDate(look.datetime)} (${reason(look.reason)})`).join(", ")),
      tested && tested.changes.length > 0 &&
        h("p", {}, tested.changes.slice(0, 8).map((change) => h("button", { type: "button", class: "link", onclick: () => this.open(change.id) }, `${change.change_type} ${change.direction}, ${shortDate(change.last_absent)} – ${shortDate(change.first_seen)}`))),
      h("button", { type: "button", class: "link", onclick: () => void this.remove(event) }, "Remove"),
    );
  }

  private async remove(event: DatedEvent): Promise<void> {
    await request(`/sites/${this.site}/events/${event.id}`, { method: "DELETE" });
    await this.load();
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
      field("Kind", h("input", { name: "kind", required: true, maxlength: "40", value: "claim" })),
      field("Date", h("input", { name: "when", type: "date", required: true })),
      field("Uncertain by, days", h("input", { name: "uncertainty", type: "number", min: "1", value: "1", required: true })),
      field("Seen at most this many days later", h("input", { name: "lag", type: "number", min: "0", value: "30", required: true })),
      field("Source", h("input", { name: "citation", required: true, maxlength: "500", placeholder: "Newspaper, 16 July 2023" })),
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
        when: text("when"),
        uncertainty_days: Number(text("uncertainty")),
        lag_days: [0, Number(text("lag"))],
        source: { citation: text("citation") },
      });
      form.reset();
      await this.load();
    } catch (error) {
      said.textContent = (error as Error).message;
    }
  }
}

function span(window: { start: string; end: string }): string {
  const [from, to] = [date(window.start), date(window.end)];
  return from === to ? from : `between ${from} and ${to}`;
}

function field(words: string, control: HTMLElement): HTMLElement {
  return h("label", { class: "field" }, h("span", {}, words), control);
}
