/** Two processing versions beside each other: what is new, lost, moved or told otherwise, and why; and which is current. */

import { ApiError, download, get, pages, request } from "./api";
import { append, h, replace } from "./dom";
import { go, type Page, type Place } from "./places";
import { symbol } from "./symbols";
import { toast } from "./toast";
import type { ChangeProperties, Job, ReportHead, Site } from "./types";
import { area, className, count, heading, moment, percent, plural, shortOnset } from "./words";

const SHOWN = 100;

export const KINDS = ["new", "lost", "moved", "reclassified", "redated", "recounted"] as const;
type Kind = (typeof KINDS)[number];

const KIND_WORDS: Record<Kind, [string, string]> = {
  new: ["new", "told only by the later one"],
  lost: ["lost", "told only by the earlier one"],
  moved: ["moved", "the same thing at another place"],
  reclassified: ["reclassified", "the same place, called otherwise"],
  redated: ["re-dated", "another onset interval"],
  recounted: ["re-counted", "another number or area"],
};

interface Side {
  report: string;
  number: number | null;
  created: string | null;
  processing_version: string;
  current: boolean;
}

interface Entry {
  kind: Kind;
  also?: Kind[];
  published: boolean;
  before: ChangeProperties | null;
  after: ChangeProperties | null;
  reasons: string[];
}

interface SiteComparison {
  site: string;
  name: string;
  before: Side | null;
  after: Side | null;
  counts: Record<string, number>;
  reasons: string[];
  entries: Entry[];
}

interface Comparison {
  totals: Record<string, number>;
  reasons?: string[];
  sites: SiteComparison[];
  links?: { rel: string; href: string }[];
}

export async function openVersions(place: Place, root: HTMLElement, signal: AbortSignal): Promise<Page> {
  if (place.view === "versions") return openChoice(place, root, signal);
  const path = place.pair ? `/comparisons/${place.pair[0]}..${place.pair[1]}` : `/jobs/${place.job}/comparison?limit=1000`;
  const [found, job] = await Promise.all([
    whole(path, signal),
    place.job ? get<Job>(`/jobs/${place.job}`, signal) : Promise.resolve(null),
  ]);
  return new ComparisonPage(found, path.replace(/\?.*$/, ""), job, root);
}

/** A comparison with all its sites, however many pages they come in; the totals are of all of them on each. */
async function whole(path: string, signal: AbortSignal): Promise<Comparison> {
  const found: Comparison = { totals: {}, sites: [] };
  for await (const page of pages<Comparison>(path, signal)) {
    found.totals = page.totals;
    found.reasons = page.reasons ?? [];
    found.sites.push(...page.sites);
  }
  return found;
}

/** Which two reports of a site are to be compared. */
async function openChoice(place: Place, root: HTMLElement, signal: AbortSignal): Promise<Page> {
  const site = await get<Site>(`/sites/${place.site}`, signal);
  const reports: ReportHead[] = [];
  for await (const page of pages<{ reports: ReportHead[]; links: { rel: string; href: string }[] }>(`/sites/${site.id}/reports?limit=1000`, signal)) {
    reports.push(...page.reports);
  }
  append(root, [
    h(
      "section",
      { class: "narrow" },
      h("p", { class: "crumbs" }, h("a", { href: `#/sites/${site.id}` }, site.properties.name)),
      h("h1", { tabindex: "-1" }, "Compare versions"),
      reports.length < 2 ? tooFew(reports.length) : picker(reports, site.properties.current_report),
    ),
  ]);
  return { title: "Compare versions", dispose: () => undefined };
}

function tooFew(there: number): HTMLElement {
  return h("p", { class: "deck" }, there ? "There is one report of this site only, so nothing to compare it with. Every later analysis adds one." : "There is no report of this site yet, so nothing to compare.");
}

/** At first the newest beside the current one, or beside the one before where the newest is current. */
function picker(reports: readonly ReportHead[], current: string | null): HTMLElement {
  const standing = reports.findIndex((report) => report.id === current);
  const [first, second] = [choice(reports, standing > 0 ? standing : 1, current, "Earlier report"), choice(reports, 0, current, "Later report")];
  const submit = (event: Event): void => {
    event.preventDefault();
    go(`/compare/${first.value}..${second.value}`);
  };
  return h("form", { class: "pick", onsubmit: submit }, h("label", { class: "field" }, h("span", {}, "Earlier report"), first), h("label", { class: "field" }, h("span", {}, "Later report"), second), h("button", { type: "submit", class: "primary" }, "Compare"));
}

function choice(reports: readonly ReportHead[], chosen: number, current: string | null, words: string): HTMLSelectElement {
  return h(
    "select",
    { "aria-label": words },
    reports.map((report, index) => h("option", { value: report.id, selected: index === chosen }, `number ${report.number}, ${moment(report.created)}${report.id === current ? ", current" : ""}`)),
  );
}

class ComparisonPage implements Page {
  readonly title = "Comparison";
  private readonly kinds = new Set<Kind>();
  private readonly published = h("input", { type: "checkbox" });
  private readonly list = h("div", { class: "compared" });
  private readonly said = h("p", { class: "quiet", role: "status" });
  private readonly standing = h("div", {});
  private readonly deck = h("p", { class: "deck" });
  private limit = SHOWN;
  private readonly ended = new AbortController();

  constructor(
    private found: Comparison,
    private readonly path: string,
    private job: Job | null,
    root: HTMLElement,
  ) {
    const [only] = found.sites;
    const single = found.sites.length === 1 && only ? only : null;
    append(root, [
      h(
        "section",
        { class: "narrow wide" },
        h("p", { class: "crumbs" }, job ? h("a", { href: `#/jobs/${job.id}` }, "Job") : single ? h("a", { href: `#/sites/${single.site}` }, single.name) : h("a", { href: "#/" }, "All sites")),
        h("h1", { tabindex: "-1" }, single ? `${single.name}: two versions` : `${plural(found.sites.length, "site")}: two versions`),
        this.deck,
        !single && found.reasons?.length ? h("ul", { class: "note" }, found.reasons.map((reason) => h("li", {}, reason))) : null,
        this.standing,
        this.downloads(),
        this.tools(),
        this.said,
        this.list,
      ),
    ]);
    this.published.addEventListener("change", () => this.render());
    this.showStanding();
    this.render();
  }

  dispose(): void {
    this.ended.abort();
    this.list.replaceChildren();
  }

  private total(kind: Kind): number {
    return this.found.totals[kind] ?? 0;
  }

  private headline(): string {
    const told = KINDS.filter((kind) => this.total(kind)).map((kind) => `${this.total(kind)} ${KIND_WORDS[kind][0]}`);
    const same = this.found.totals.unchanged ?? 0;
    if (!told.length) return `Nothing differs: both tell the same ${plural(same, "change")}.`;
    const published = this.found.sites.flatMap((site) => site.entries).filter((entry) => entry.published).length;
    return `${told.join(", ")}; ${same} the same. ${published ? `${plural(published, "difference")} ${published === 1 ? "touches" : "touch"} what is published now.` : "Nothing of what is published now differs."}`;
  }

  private downloads(): HTMLElement {
    const save = (ending: string): void => {
      download(`${this.path}?f=${ending}`, `comparison.${ending}`).catch((error: Error) => toast(`The file could not be saved: ${error.message}`, null));
    };
    const formats: [string, string][] = [["csv", "Save as CSV"], ["html", "Save to read and print (HTML)"]];
    return h("p", { class: "tools" }, formats.map(([ending, words]) => h("button", { type: "button", onclick: () => save(ending) }, words)));
  }

  private tools(): HTMLElement {
    const buttons = KINDS.filter((kind) => this.total(kind)).map((kind) =>
      h(
        "button",
        {
          type: "button", "aria-pressed": "false", title: KIND_WORDS[kind][1],
          onclick: (event: Event) => {
            if (!this.kinds.delete(kind)) this.kinds.add(kind);
            (event.currentTarget as Element).setAttribute("aria-pressed", String(this.kinds.has(kind)));
            this.render();
          },
        },
        h("b", {}, String(this.total(kind))),
        ` ${KIND_WORDS[kind][0]}`,
      ),
    );
    return h("div", { class: "list-tools", role: "group", "aria-label": "Show only", hidden: !buttons.length }, buttons, h("label", { class: "tick" }, this.published, " only what touches published reports"));
  }

  private wanted(entry: Entry): boolean {
    return (!this.kinds.size || this.kinds.has(entry.kind)) && (!this.published.checked || entry.published);
  }

  private render(): void {
    this.deck.textContent = this.headline();
    let left = this.limit;
    let matching = 0;
    const blocks = this.found.sites.map((site) => {
      const entries = site.entries.filter((entry) => this.wanted(entry));
      matching += entries.length;
      const shown = entries.slice(0, Math.max(0, left));
      left -= shown.length;
      return shown.length || !this.filtered() ? siteBlock(site, shown, this.found.sites.length > 1) : null;
    });
    const all = this.found.sites.reduce((sum, site) => sum + site.entries.length, 0);
    replace(this.said, this.filtered() ? `${matching} of ${plural(all, "difference")}` : "");
    replace(
      this.list,
      blocks,
      matching > this.limit && h("button", { type: "button", onclick: () => {
        this.limit += SHOWN;
        this.render();
      } }, `Show ${Math.min(SHOWN, matching - this.limit)} more`),
    );
  }

  private filtered(): boolean {
    return this.kinds.size > 0 || this.published.checked;
  }

  // Which reports are current

  private showStanding(): void {
    const { job } = this;
    if (!job || job.type !== "reprocess") return;
    const current = Boolean(job.promoted);
    replace(
      this.standing,
      h(
        "div",
        { class: current ? "notice calm" : "notice" },
        h("p", {}, current ? "The reports of this job are the current ones." : "The reports of this job wait beside the current ones; nobody sees them until they are made current."),
        current
          ? h("button", { type: "button", onclick: () => void this.turn("DELETE") }, "Take it back")
          : h("button", { type: "button", class: "primary", disabled: job.state !== "successful", onclick: () => this.ask() }, "Make them current"),
      ),
    );
  }

  /** What is published changes for every reader: said in numbers before it is done. */
  private ask(): void {
    const published = this.found.sites.flatMap((site) => site.entries).filter((entry) => entry.published);
    const lost = published.filter((entry) => entry.kind === "lost").length;
    const dialog = h(
      "dialog",
      { "aria-labelledby": "promote-title" },
      h("h2", { id: "promote-title" }, "Make these reports current?"),
      h("p", {}, `On ${plural(this.found.sites.length, "site")} ${plural(published.length, "published change")} would be told otherwise, ${lost} of them retracted. The feed tells every subscriber. The reports of today stay readable, and this can be taken back.`),
      h("p", { class: "tools" }, h("button", { type: "button", class: "primary", onclick: () => {
        dialog.close();
        void this.turn("POST");
      } }, "Make them current"), h("button", { type: "button", onclick: () => dialog.close() }, "Leave as it is")),
    );
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  /** Which report of each site is current is told by the comparison, too. */
  private async reload(): Promise<void> {
    this.found = await whole(`${this.path}?limit=1000`, this.ended.signal);
    this.render();
  }

  private async turn(method: "POST" | "DELETE"): Promise<void> {
    const { job } = this;
    if (!job) return;
    try {
      await request(`/jobs/${job.id}/promote`, { method });
      this.job = await get<Job>(`/jobs/${job.id}`);
      this.showStanding();
      await this.reload();
      toast(method === "POST" ? "These reports are the current ones now." : "The reports that were current before are so again.", null);
    } catch (error) {
      const why = error instanceof ApiError && error.status === 403 ? "your key may not do that" : (error as Error).message;
      toast(`Nothing was changed: ${why}`, null);
    }
  }
}

function siteBlock(site: SiteComparison, entries: readonly Entry[], titled: boolean): HTMLElement {
  return h(
    "section",
    { "aria-label": site.name },
    titled && h("h2", {}, h("a", { href: `#/sites/${site.site}` }, site.name)),
    h("p", { class: "quiet sides" }, side(site.before), h("span", { "aria-label": "to" }, " → "), side(site.after)),
    site.reasons.length > 0 && h("ul", { class: "note" }, site.reasons.map((reason) => h("li", {}, reason))),
    entries.length > 0 && h("ul", { class: "plain differences" }, entries.map((entry) => row(site.site, entry))),
  );
}

function side(report: Side | null): string {
  if (!report) return "no report";
  return `report ${report.number ?? ""}${report.created ? ` of ${moment(report.created)}` : ""}, version ${report.processing_version.slice(0, 12)}${report.current ? ", current" : ""}`;
}

function row(site: string, entry: Entry): HTMLElement {
  const told = entry.after ?? entry.before;
  if (!told) return h("li", {});
  const change = { id: told.id, geometry: null, properties: told };
  return h(
    "li",
    { class: `difference ${entry.kind}` },
    symbol(told.change_type, told.direction),
    h(
      "div",
      {},
      [entry.kind, ...(entry.also ?? [])].map((kind) => [h("span", { class: "badge", title: KIND_WORDS[kind][1] }, KIND_WORDS[kind][0]), " "]),
      h("a", { href: `#/sites/${site}/changes/${told.id}` }, heading(change)),
      entry.published && h("span", { class: "badge published" }, "published"),
      h("div", { class: "terms" }, differences(entry)),
      entry.reasons.map((reason) => h("p", { class: "quiet" }, reason)),
    ),
  );
}

/** What is told otherwise, earlier and later; of what only one of them tells, all there is. */
function differences(entry: Entry): HTMLElement[] {
  const { before, after } = entry;
  const terms: [string, (p: ChangeProperties) => string][] = [
    ["Class", (p) => `${className(p.change_type)}, ${p.direction}`],
    ["Onset", (p) => shortOnset({ id: p.id, geometry: null, properties: p })],
    ["Number", (p) => count({ id: p.id, geometry: null, properties: p })],
    ["Area", (p) => (p.area_m2 === null ? "" : area(p.area_m2))],
    ["Confidence", (p) => percent(p.confidence)],
  ];
  return terms.flatMap(([name, tell]) => {
    const [was, is] = [before ? tell(before) : "", after ? tell(after) : ""];
    if (before && after && was === is) return [];
    if (!was && !is) return [];
    return [h("span", {}, h("span", { class: "quiet" }, `${name} `), was && h("s", {}, was), was && is && " → ", is && h("b", {}, is))];
  });
}
