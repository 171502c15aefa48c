/** The changes of a site: filters, and a list that stays light with thousands of rows. */

import { append, h, perFrame, replace, uid } from "./dom";
import { symbol } from "./symbols";
import type { Change, Review } from "./types";
import { className, count, heading, percent, plural, shortOnset, STATUSES, STATUS_WORDS, area } from "./words";

const ROW_PX = 66;
const SPARE_ROWS = 6;
/** As many as a reader may want on paper; the report and the CSV hold all. */
const PRINTED_ROWS = 300;

export interface Filter {
  kinds: Set<string>;
  statuses: Set<string>;
  confidence: number;
  from: string;
  to: string;
  fresh: boolean;
}

export function anything(): Filter {
  return { kinds: new Set(), statuses: new Set(), confidence: 0, from: "", to: "", fresh: false };
}

export function kindOf(change: Change): string {
  return `${change.properties.change_type}|${change.properties.direction}`;
}

export function matches(change: Change, filter: Filter): boolean {
  const p = change.properties;
  if (filter.kinds.size && !filter.kinds.has(kindOf(change))) return false;
  if (filter.statuses.size && !filter.statuses.has(p.status)) return false;
  if (p.confidence < filter.confidence) return false;
  if (filter.from && p.first_seen < filter.from) return false;
  return !(filter.to && p.last_absent > `${filter.to}T23:59:59Z`);
}

export class ChangeList {
  readonly element: HTMLElement;
  readonly list: HTMLElement;
  readonly filter: Filter = anything();
  private readonly tallies = h("div", { class: "tallies", role: "group", "aria-label": "Show only" });
  private readonly more = h("details", { class: "filters" });
  private readonly said = h("p", { class: "quiet list-said", role: "status" });
  private readonly rows = h("div", { class: "rows", role: "presentation" });
  private readonly nothing = h("p", { class: "quiet nothing", hidden: true });
  private all: Change[] = [];
  private shown: Change[] = [];
  private readonly places = new Map<string, number>();
  private current: string | null = null;
  private readonly prefix = uid("change");
  private readonly reviews: ReadonlyMap<string, Review>;
  private fresh: ReadonlyMap<string, string> = new Map();
  private loading = true;
  private empty = "Nothing is listed.";
  private printing = false;
  private readonly printed = h("p", { class: "print-only quiet" });
  private readonly ended = new AbortController();
  order: "strength" | "time" = "strength";

  constructor(
    reviews: ReadonlyMap<string, Review>,
    private readonly onOpen: (change: Change) => void,
    private readonly onFilter: (shown: Change[]) => void,
  ) {
    this.reviews = reviews;
    this.list = h(
      "div",
      { class: "change-list", role: "listbox", tabindex: "0", "aria-label": "Changes", onkeydown: (event: KeyboardEvent) => this.onKey(event) },
      this.rows,
    );
    const render = perFrame(() => this.render());
    this.list.addEventListener("scroll", render, { passive: true });
    new ResizeObserver(render).observe(this.list);
    window.addEventListener("beforeprint", () => this.print(true), { signal: this.ended.signal });
    window.addEventListener("afterprint", () => this.print(false), { signal: this.ended.signal });
    this.element = h("div", { class: "changes-panel" }, this.tallies, this.more, this.said, this.nothing, this.list, this.printed);
    this.buildMore();
  }

  dispose(): void {
    this.ended.abort();
  }

  private print(on: boolean): void {
    this.printing = on;
    const left = this.shown.length - PRINTED_ROWS;
    this.printed.textContent = left > 0 ? `The first ${PRINTED_ROWS} of ${plural(this.shown.length, "change")}. “Report to read and print” and the CSV hold all of them.` : "";
    this.rows.style.setProperty("height", `${(on ? Math.min(this.shown.length, PRINTED_ROWS) : this.shown.length) * ROW_PX}px`);
    this.render();
  }

  show(changes: Change[], loading: boolean): void {
    this.all = changes;
    this.loading = loading;
    this.buildTallies();
    this.apply();
  }

  /** What an empty list means here: nothing found is one thing, nothing seen another. */
  setEmpty(words: string): void {
    this.empty = words;
    this.apply();
  }

  /** The neighbour of the current change in the list as it is filtered. */
  neighbour(step: 1 | -1): Change | null {
    if (!this.shown.length) return null;
    const at = this.current === null ? -1 : (this.places.get(this.current) ?? -1);
    const to = at < 0 ? (step > 0 ? 0 : this.shown.length - 1) : at + step;
    return this.shown[to] ?? null;
  }

  place(id: string): [number, number] {
    return [(this.places.get(id) ?? -1) + 1, this.shown.length];
  }

  select(id: string | null): void {
    this.current = id;
    const at = id === null ? undefined : this.places.get(id);
    if (at !== undefined) {
      const top = at * ROW_PX;
      const { scrollTop, clientHeight } = this.list;
      if (top < scrollTop) this.list.scrollTop = top;
      else if (top + ROW_PX > scrollTop + clientHeight) this.list.scrollTop = top + ROW_PX - clientHeight;
    }
    this.render();
  }

  refresh(): void {
    this.render();
  }

  /** Changes that are news since the last visit, and what kind of news. */
  setFresh(fresh: ReadonlyMap<string, string>): void {
    this.fresh = fresh;
    this.buildTallies();
    this.apply();
  }

  private apply(): void {
    this.shown = this.all.filter((change) => matches(change, this.filter) && (!this.filter.fresh || this.fresh.has(change.id)));
    const by = this.order;
    this.shown.sort((one, two) =>
      by === "strength"
        ? two.properties.confidence - one.properties.confidence || (two.properties.area_m2 ?? 0) - (one.properties.area_m2 ?? 0)
        : two.properties.first_seen.localeCompare(one.properties.first_seen),
    );
    this.places.clear();
    this.shown.forEach((change, index) => this.places.set(change.id, index));
    this.rows.style.setProperty("height", `${this.shown.length * ROW_PX}px`);
    this.more.hidden = !this.all.length;
    this.nothing.hidden = this.loading || this.shown.length > 0;
    this.list.hidden = !this.nothing.hidden;
    this.nothing.textContent = this.all.length ? "No change matches what is asked for above." : this.empty;
    const filtered = this.shown.length !== this.all.length;
    replace(
      this.said,
      this.loading ? "Loading changes… " : "",
      filtered ? `${plural(this.shown.length, "change")} of ${plural(this.all.length, "change")}` : this.all.length ? plural(this.all.length, "change") : "",
      this.all.length > 0 && h("span", { class: "how-sure" }, "confidence"),
      filtered && h("button", { type: "button", class: "link", onclick: () => this.clear() }, "show all"),
    );
    this.render();
    this.onFilter(this.shown);
  }

  private clear(): void {
    Object.assign(this.filter, anything());
    this.buildMore();
    this.buildTallies();
    this.apply();
  }

  private render(): void {
    const { scrollTop, clientHeight } = this.list;
    const first = this.printing ? 0 : Math.max(0, Math.floor(scrollTop / ROW_PX) - SPARE_ROWS);
    const end = this.printing ? PRINTED_ROWS : Math.ceil((scrollTop + clientHeight) / ROW_PX) + SPARE_ROWS;
    const last = Math.min(this.shown.length, end);
    const made: HTMLElement[] = [];
    for (let index = first; index < last; index += 1) {
      const change = this.shown[index];
      if (change) made.push(this.row(change, index));
    }
    this.rows.replaceChildren(...made);
    const at = this.current === null ? undefined : this.places.get(this.current);
    if (at !== undefined && at >= first && at < last) this.list.setAttribute("aria-activedescendant", `${this.prefix}-${at}`);
    else this.list.removeAttribute("aria-activedescendant");
  }

  private row(change: Change, index: number): HTMLElement {
    const p = change.properties;
    const review = this.reviews.get(change.id);
    const news = this.fresh.get(change.id);
    const size = p.change_type === "container" && p.count !== null ? count(change) : p.area_m2 !== null ? area(p.area_m2) : "";
    return h(
      "div",
      {
        class: "change-row", role: "option", id: `${this.prefix}-${index}`,
        "aria-selected": String(change.id === this.current), "aria-setsize": String(this.shown.length), "aria-posinset": String(index + 1),
        vars: { transform: `translateY(${index * ROW_PX}px)` },
        onclick: () => this.onOpen(change),
      },
      symbol(p.change_type, p.direction),
      h(
        "div",
        { class: "change-line" },
        h("span", { class: "change-title", title: size ? `${heading(change)} · ${size}` : null }, news && h("span", { class: "badge news-badge" }, news), news && " ", heading(change)),
        size && h("span", { class: "quiet change-size" }, size),
        h("span", { class: "confidence", title: "Confidence" }, percent(p.confidence)),
      ),
      h(
        "div",
        { class: "change-line" },
        h("span", { class: "change-when" }, shortOnset(change)),
        review ? h("span", { class: `change-status verdict ${review.verdict}` }, review.verdict) : h("span", { class: "change-status quiet" }, STATUS_WORDS[p.status] ?? p.status),
      ),
    );
  }

  private onKey(event: KeyboardEvent): void {
    const at = this.current === null ? -1 : (this.places.get(this.current) ?? -1);
    const last = this.shown.length - 1;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 10, PageUp: at - 10, Home: 0, End: last }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    const change = this.shown[Math.min(last, Math.max(0, to))];
    if (change) this.onOpen(change);
  }

  private buildTallies(): void {
    const counts = new Map<string, number>();
    for (const change of this.all) counts.set(kindOf(change), (counts.get(kindOf(change)) ?? 0) + 1);
    const kinds = [...counts.keys()].sort();
    const rows = [...new Set(kinds.map((kind) => kind.split("|")[0] ?? ""))];
    replace(
      this.tallies,
      kinds.map((kind) => {
        const [name = "", direction = "appeared"] = kind.split("|") as [string, "appeared" | "removed"];
        return h(
          "button",
          {
            type: "button", class: `tally ${direction}`, vars: { "grid-row": String(rows.indexOf(name) + 1) }, "aria-pressed": String(this.filter.kinds.has(kind)),
            onclick: (event: Event) => {
              if (!this.filter.kinds.delete(kind)) this.filter.kinds.add(kind);
              (event.currentTarget as Element).setAttribute("aria-pressed", String(this.filter.kinds.has(kind)));
              this.apply();
            },
          },
          symbol(name, direction),
          h("b", {}, String(counts.get(kind) ?? 0)),
          h("span", {}, `${className(name, (counts.get(kind) ?? 0) !== 1)} ${direction}`),
        );
      }),
      this.freshTally(),
    );
  }

  private freshTally(): HTMLElement | null {
    const many = this.all.filter((change) => this.fresh.has(change.id)).length;
    if (!many) return null;
    return h(
      "button",
      {
        type: "button", class: "tally fresh", "aria-pressed": String(this.filter.fresh),
        onclick: (event: Event) => {
          this.filter.fresh = !this.filter.fresh;
          (event.currentTarget as Element).setAttribute("aria-pressed", String(this.filter.fresh));
          this.apply();
        },
      },
      h("span", { class: "badge news-badge" }, "new"),
      h("b", {}, String(many)),
      h("span", {}, "since your last visit"),
    );
  }

  private buildMore(): void {
    const again = (): void => this.apply();
    const confidence = h("output", {}, percent(this.filter.confidence));
    const field = (words: string, control: HTMLElement, after?: HTMLElement): HTMLElement =>
      h("label", { class: "field" }, h("span", {}, words, after ? " " : null, after), control);
    const day = (key: "from" | "to", words: string): HTMLElement =>
      field(
        words,
        h("input", {
          type: "date", value: this.filter[key],
          onchange: (event: Event) => {
            this.filter[key] = (event.target as HTMLInputElement).value;
            again();
          },
        }),
      );
    replace(this.more, h("summary", {}, "Filter and sort"));
    append(this.more, [
      h(
        "div",
        { class: "fields" },
        field(
          "Order",
          h(
            "select",
            {
              onchange: (event: Event) => {
                this.order = (event.target as HTMLSelectElement).value as "strength" | "time";
                again();
              },
            },
            h("option", { value: "strength" }, "surest first"),
            h("option", { value: "time" }, "latest first"),
          ),
        ),
        field(
          "Confidence at least",
          h("input", {
            type: "range", min: "0", max: "0.95", step: "0.05", value: String(this.filter.confidence),
            oninput: (event: Event) => {
              this.filter.confidence = Number((event.target as HTMLInputElement).value);
              confidence.textContent = percent(this.filter.confidence);
              again();
            },
          }),
          confidence,
        ),
        day("from", "Onset may lie after"),
        day("to", "Onset may lie before"),
        h(
          "fieldset",
          {},
          h("legend", {}, "Status"),
          Object.entries(STATUSES)
            .filter(([status]) => status !== "retracted")
            .map(([status, words]) =>
              h(
                "label",
                { class: "tick" },
                h("input", {
                  type: "checkbox", checked: this.filter.statuses.has(status),
                  onchange: (event: Event) => {
                    if ((event.target as HTMLInputElement).checked) this.filter.statuses.add(status);
                    else this.filter.statuses.delete(status);
                    again();
                  },
                }),
                ` ${words}`,
              ),
            ),
        ),
      ),
    ]);
  }
}
