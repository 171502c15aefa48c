/** One site: its map, its changes, its timeline, and one change at a time. */

import { ApiError, download, get, pages, send, followJob } from "./api";
import { ChangeList } from "./changelist";
import { ChangeView, Reviewer, facts } from "./changeview";
import { clear, compare, partners } from "./comparable";
import { announce, append, h, later, replace } from "./dom";
import { EventsPanel } from "./events";
import { readNews } from "./feed";
import { go, type Page, type Place } from "./places";
import { SiteMap, type Mode } from "./sitemap";
import { COLOURS } from "./symbols";
import { LookLayers } from "./tiles";
import { looksTable, Timeline } from "./timeline";
import { toast } from "./toast";
import type { Change, Job, Look, Report, Review, Site, TimelinePoint } from "./types";
import { area, date, plural, reason, mainReason, sentence, shortDate, STATES, visibility, percent } from "./words";

const PAGE = 1000;
const REPORT_POLL_MS = 5000;
const SAME_MOMENT_MS = 3000;
/** Below this share of the site, what was compared says nothing about it: imagery/coverage.py. */
const LEAST_COMPARED = 0.02;

/** What an empty list of changes means, by the verdict of the report. */
const EMPTY: Record<string, string> = {
  not_observable: "Nothing could be seen, so nothing can be listed. That is not “no change”.",
  nothing_to_compare: "No ground was seen on two dates that can be compared: there is nothing to tell yet.",
  no_change_found: "No change was found in what could be seen.",
};

export async function openSite(place: Place, root: HTMLElement, signal: AbortSignal): Promise<Page> {
  const site = await get<Site>(`/sites/${place.site}`, signal);
  return new SitePage(site, root, place);
}

class SitePage implements Page {
  readonly title: string;
  private readonly abort = new AbortController();
  private readonly reviews = new Map<string, Review>();
  private readonly reviewer: Reviewer;
  private readonly list: ChangeList;
  private readonly timeline: Timeline;
  private readonly map: SiteMap;
  private readonly layers: LookLayers;
  private readonly events: EventsPanel;
  private readonly panel = h("aside", { class: "panel", "aria-label": "Changes" });
  private readonly detail = h("div", { class: "detail" });
  private readonly head = h("div", { class: "site-said" });
  private readonly below = h("div", { class: "below" });
  private readonly toolbar = h("div", { class: "toolbar", role: "group", "aria-label": "Pictures on the map" });
  private readonly mapSaid = h("p", { class: "map-said", role: "status" });
  private readonly analyseButton = h("button", { type: "button", onclick: () => void this.analyse() }, "Analyse again");
  /** What can be done with a report is out of sight while there is none. */
  private readonly downloads = h("details", { class: "menu" });
  private readonly versions: HTMLElement;
  private readonly known = new Map<string, Change>();
  private readonly kinds = new Set(Object.keys(COLOURS));
  private changes: Change[] = [];
  private looks: Look[] = [];
  private view: ChangeView | null = null;
  private first: Look | null = null;
  private second: Look | null = null;
  private mode: Mode = "one";
  private wanted: string | null;
  private withheld = false;
  /** Whether the map shows the open change's own pictures, which are of two dates whatever else is chosen. */
  private chipped = false;

  constructor(
    readonly site: Site,
    root: HTMLElement,
    place: Place,
  ) {
    this.title = site.properties.name;
    this.wanted = place.change ?? null;
    this.versions = h("a", { class: "button", href: `#/sites/${site.id}/versions` }, "Compare versions");
    this.reviewer = new Reviewer(this.reviews, toast, () => {
      this.list.refresh();
      this.view?.showReview();
    });
    this.list = new ChangeList(this.reviews, (change) => this.open(change.id), (shown) => this.onFilter(shown));
    this.timeline = new Timeline((look, second) => this.chooseLook(look, second));
    this.events = new EventsPanel(site.id, (spans) => this.timeline.setEvents(spans), (id) => this.open(id));
    const mapBox = h("div", { class: "map", tabindex: "0", role: "application", "aria-label": `Map of ${site.properties.name}; arrow keys move, plus and minus zoom` });
    append(root, [
      h(
        "div",
        { class: "first-screen" },
        h("header", { class: "site-head" }, h("div", { class: "site-title" }, h("a", { href: "#/", class: "crumb" }, "All sites"), h("h1", { tabindex: "-1" }, site.properties.name), this.menu()), this.head),
        h(
          "div",
          { class: "site-body" },
          this.panel,
          h("section", { class: "stage", "aria-label": "Map and timeline" }, this.toolbar, h("div", { class: "map-box" }, mapBox, this.mapSaid, h("button", { type: "button", class: "fit", onclick: () => this.map.showAll() }, "Whole site")), this.timeline.element),
        ),
      ),
      this.below,
    ]);
    append(this.panel, [this.list.element, this.detail]);
    this.detail.hidden = true;
    this.map = new SiteMap(mapBox, site, (id) => this.open(id));
    this.map.onFlicker = (upper) => this.say(this.pair()[upper ? 1 : 0]);
    this.layers = new LookLayers(site, this.map.projection);
    document.addEventListener("keydown", this.onKey);
    void this.load();
  }

  dispose(): void {
    this.abort.abort();
    document.removeEventListener("keydown", this.onKey);
    void this.reviewer.flush();
    this.list.dispose();
    this.timeline.dispose();
    this.map.dispose();
  }

  /** The address changed while the site stayed. */
  moved(place: Place): boolean {
    if (place.site !== this.site.id) return false;
    this.wanted = place.change ?? null;
    this.show(this.wanted, true);
    return true;
  }

  private async load(): Promise<void> {
    const here = `/sites/${this.site.id}`;
    const { signal } = this.abort;
    try {
      const [report] = await Promise.all([
        get<Report>(`${here}/reports/latest`, signal),
        this.loadLooks(here, signal),
        this.loadChanges(here, signal),
      ]);
      this.showReport(report);
      void this.events.load();
      void this.loadNews();
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.code === "no-report-yet") await this.waitForReport();
      else this.fail(error);
    }
  }

  private async loadLooks(here: string, signal: AbortSignal): Promise<void> {
    const [points] = await Promise.all([
      get<{ points: TimelinePoint[] }>(`${here}/timeline`, signal),
      this.layers.load(signal),
      (async () => {
        for await (const page of pages<{ features: Look[]; links: { rel: string; href: string }[] }>(`${here}/looks?limit=${PAGE}`, signal)) {
          this.looks.push(...page.features);
        }
      })(),
    ]);
    this.looks.sort((one, two) => one.properties.datetime.localeCompare(two.properties.datetime));
    this.timeline.show(this.looks, points.points);
    if (this.view) this.show(this.view.change.id, false); // Opened before the looks were known, whose dates its pictures bear.
    else this.firstPictures();
  }

  private async loadChanges(here: string, signal: AbortSignal): Promise<void> {
    this.list.show([], true);
    for await (const page of pages<{ features: Change[]; links: { rel: string; href: string }[] }>(`${here}/changes?limit=${PAGE}`, signal)) {
      for (const change of page.features) {
        this.known.set(change.id, change);
        this.kinds.add(change.properties.change_type);
      }
      this.changes = [...this.changes, ...page.features];
      this.list.show(this.changes, page.links.some((link) => link.rel === "next"));
      if (this.wanted && !this.view) this.show(this.wanted, true);
    }
    if (this.wanted && !this.view) await this.showForeign(this.wanted);
  }

  /** What became known since the last visit; without it the site is told as well, so a fault here is none. */
  private async loadNews(): Promise<void> {
    const fresh = new Map<string, string>();
    await readNews(({ entries }) => {
      for (const entry of entries) {
        if (entry.site === this.site.id && entry.change) fresh.set(entry.change, entry.event);
      }
    }).catch(() => undefined);
    if (fresh.size && !this.abort.signal.aborted) this.list.setFresh(fresh);
  }

  private fail(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.list.setEmpty("The changes could not be read.");
    this.list.show(this.changes, false);
    replace(this.head, h("p", { class: "notice error", role: "alert" }, h("b", {}, "This did not work. "), text, " ", h("button", { type: "button", onclick: () => location.reload() }, "Try again")));
  }

  private async waitForReport(): Promise<void> {
    this.changes = [];
    this.looks = [];
    this.list.setEmpty("No report yet, so nothing can be said.");
    this.list.show([], false);
    this.timeline.show([], []);
    this.analyseButton.textContent = "Analyse";
    this.downloads.hidden = this.versions.hidden = true;
    const bar = h("progress", { max: "100", "aria-label": "Progress of the analysis" });
    const said = h("span", {}, "The first report of this site is not there yet.");
    replace(this.head, h("div", { class: "notice" }, h("b", {}, "No report yet. "), said, bar));
    const job = await this.firstJob();
    if (job) {
      await followJob(job, (seen: Job) => {
        bar.value = seen.progress;
        said.textContent = `The first analysis is ${STATES[seen.state]}${seen.step ? ` (${seen.step})` : ""}.`;
      }, this.abort.signal);
    } else {
      bar.hidden = true;
      said.textContent = "Nothing is being analysed. “Analyse” asks for a first report.";
      await this.pause(REPORT_POLL_MS);
    }
    if (!this.abort.signal.aborted) void this.load();
  }

  private async pause(ms: number): Promise<void> {
    await new Promise((resolve) => window.setTimeout(resolve, ms));
  }

  /** The job that came with the site, while it lasts: jobs do not name their sites, so it is known by its hour. */
  private async firstJob(): Promise<string | null> {
    const { jobs } = await get<{ jobs: Job[] }>("/jobs?limit=200", this.abort.signal);
    const born = Date.parse(this.site.properties.created);
    const mine = jobs.find((job) => job.reason === "site-submitted" && Math.abs(Date.parse(job.created) - born) < SAME_MOMENT_MS);
    return mine && (mine.state === "running" || mine.state === "accepted") ? mine.id : null;
  }

  private showReport(report: Report): void {
    const clearLooks = this.looks.filter(clear).length;
    this.downloads.hidden = this.versions.hidden = false;
    replace(
      this.head,
      this.verdict(report, clearLooks),
      ...(this.site.standing_warnings ?? []).map((warning) => h("p", { class: "notice blind" }, sentence(warning.detail))),
    );
    this.showBelow(report, clearLooks);
    this.buildToolbar();
  }

  private verdict(report: Report, clearLooks: number): HTMLElement {
    const verdict = report.verdict ?? (this.changes.length ? "changes_found" : !clearLooks ? "not_observable" : couldCompare(report) ? "no_change_found" : "nothing_to_compare");
    const headline = report.headline ?? "";
    this.list.setEmpty(EMPTY[verdict] ?? "Nothing is listed.");
    switch (verdict) {
      case "not_observable":
        return notice("blind", "Not observable", "No scene of this period showed the ground well enough. This is not a finding of no change: whatever happened here went unseen. The timeline says why for every look.", headline);
      case "nothing_to_compare":
        return notice("blind", "Nothing to compare", "No ground was seen on two dates that can be compared, so nothing can have been seen to change. What stands on the site is not reported as new.", headline);
      case "no_change_found":
        return notice("calm", "No change found in what could be seen", `${plural(clearLooks, "clear look")} were compared. What is smaller than the limits below, or stood only between two looks, would have gone unseen.`, headline);
      default:
        return h("p", { class: "deck" }, headline);
    }
  }

  private showBelow(report: Report, clearLooks: number): void {
    const period = typeof report.period === "object" && report.period ? `${shortDate(report.period.start)} – ${shortDate(report.period.end)}` : "all scenes";
    const blind = this.looks.filter((look) => !clear(look));
    const partly = this.looks.filter((look) => clear(look) && look.properties.usable_fraction < 0.9);
    const days = (looks: Look[]): string =>
      looks.slice(0, 8).map((look) => `${date(look.properties.datetime)} (${reason(mainReason(look.properties))})`).join(", ") + (looks.length > 8 ? ` and ${looks.length - 8} more` : "");
    const lines = [
      blind.length ? h("li", {}, h("b", {}, "Not at all"), ` on ${days(blind)}.`) : null,
      partly.length ? h("li", {}, h("b", {}, "In part"), ` on ${days(partly)}.`) : null,
      ...(report.detection_limits ?? []).map((limit) => h("li", {}, h("b", {}, "Limit: "), limit.statement)),
      ...(report.limits_in_words ?? []).map((text) => h("li", {}, text)),
      ...report.warnings.map((text) => h("li", {}, text)),
    ];
    replace(
      this.below,
      facts([
        ["Looks that showed the site", `${clearLooks} of ${this.looks.length}`],
        ["Period", period],
        ["Area", area(this.site.properties.area_m2)],
        ["Report", `number ${report.number}, version ${report.processing_version.slice(0, 12)}`],
      ]),
      h("section", { class: "unseen" }, h("h2", {}, "What could not be seen"), h("ul", {}, lines)),
      this.events.element,
      h("details", { class: "looks" }, h("summary", {}, h("h2", {}, `All ${plural(this.looks.length, "look")}`)), looksTable(this.looks)),
      keysHelp(),
    );
  }

  private menu(): HTMLElement {
    const { id, properties } = this.site;
    const name = properties.name.replace(/[^\p{L}\p{N}]+/gu, "-").toLowerCase();
    const files: [string, string, string][] = [
      ["Changes as GeoJSON", `/sites/${id}/changes?f=geojson&whole=true`, `${name}.geojson`],
      ["Changes as CSV", `/sites/${id}/changes?f=csv`, `${name}.csv`],
      ["Changes for Google Earth (KMZ)", `/sites/${id}/changes?f=kmz`, `${name}.kmz`],
      ["Changes for QGIS (GeoPackage)", `/sites/${id}/changes?f=gpkg`, `${name}.gpkg`],
      ["Changes as GeoParquet", `/sites/${id}/changes?f=parquet`, `${name}.parquet`],
      ["Report to read and print (HTML)", `/sites/${id}/reports/latest.html`, `${name}.html`],
      ["Evidence bundle (zip)", `/sites/${id}/reports/latest/bundle.zip`, `${name}.zip`],
    ];
    const save = (path: string, file: string): void => {
      download(path, file).catch((error: Error) => toast(`The file could not be saved: ${error.message}`, null));
    };
    append(this.downloads, [
      h("summary", {}, "Download"),
      h("ul", {}, files.map(([words, path, file]) => h("li", {}, h("button", { type: "button", onclick: () => save(path, file) }, words)))),
    ]);
    return h("div", { class: "site-menu" }, this.downloads, this.versions, this.analyseButton);
  }

  private async analyse(): Promise<void> {
    try {
      const job = await send<Job>("POST", "/jobs", { type: "analyse", sites: [this.site.id] });
      go(`/jobs/${job.id}`);
    } catch (error) {
      toast(`The analysis was not started: ${(error as Error).message}`, null);
    }
  }

  // Changes

  private open(id: string): void {
    go(`/sites/${this.site.id}/changes/${id}`);
  }

  private show(id: string | null, move: boolean): void {
    const change = id === null ? null : (this.known.get(id) ?? null);
    this.list.select(change?.id ?? null);
    this.map.select(change, move);
    this.timeline.mark(change);
    this.detail.hidden = change === null;
    this.list.element.hidden = change !== null;
    this.panel.classList.toggle("has-detail", change !== null);
    if (!change) {
      const left = this.view !== null;
      this.view = null;
      this.detail.replaceChildren();
      if (left && !this.layers.there) this.withoutPictures();
      return;
    }
    this.view = new ChangeView(change, {
      site: this.site.id,
      looks: this.looks,
      kinds: [...this.kinds],
      reviews: this.reviews,
      reviewer: this.reviewer,
      place: this.list.place(change.id),
      close: () => go(`/sites/${this.site.id}`),
      step: (by) => this.step(by),
    });
    this.detail.replaceChildren(this.view.element);
    this.detail.scrollTop = 0;
    this.view.element.querySelector<HTMLElement>("#change-title")?.focus({ preventScroll: true });
    if (move && matchMedia("(max-width: 700px)").matches) this.detail.scrollIntoView();
    this.showPair(change);
  }

  /** A change of an earlier report: told with what the service still knows of it. */
  private async showForeign(id: string): Promise<void> {
    try {
      const change = await get<Change>(`/changes/${id}`, this.abort.signal);
      this.known.set(id, change);
      if (this.wanted === id) this.show(id, true);
    } catch (error) {
      if (!this.abort.signal.aborted) toast(`This change cannot be shown: ${(error as Error).message}`, null);
    }
  }

  private step(by: 1 | -1): void {
    const next = this.list.neighbour(by);
    if (next) this.open(next.id);
    else announce(by > 0 ? "That was the last change" : "That was the first change");
  }

  private readonly onKey = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    const typing = target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, dialog") !== null;
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j") this.step(1);
    else if (event.key === "k") this.step(-1);
    else if (event.key === "u") this.reviewer.undo();
    else if (event.key === "Escape" && this.view) go(`/sites/${this.site.id}`);
    else if (event.key === "f") this.setMode(this.mode === "flicker" ? "one" : "flicker");
    else if (event.key === "s") this.setMode(this.mode === "swipe" ? "one" : "swipe");
    else if (!this.view?.key(event.key)) return;
    event.preventDefault();
  };

  private readonly onFilter = later(30, (shown: Change[]): void => {
    this.map.setChanges(shown);
  });

  // Pictures

  private firstPictures(): void {
    const clearOnes = this.looks.filter(clear);
    const last = clearOnes.at(-1) ?? null;
    const best = last ? (partners(last, this.looks).good.at(0) ?? null) : null;
    [this.first, this.second] = [last ?? this.looks.at(-1) ?? null, best];
    this.pictures();
  }

  private showPair(change: Change): void {
    const find = (scene: string | undefined): Look | null => this.looks.find((look) => look.properties.scene_id === scene) ?? null;
    const [before, after] = [find(change.properties.before_scene), find(change.properties.after_scene)];
    this.chipped = false;
    if (!before || !after) {
      this.withoutPictures();
      return;
    }
    [this.first, this.second] = [before, after];
    if (this.mode === "one") this.mode = "swipe";
    if (this.layers.there) this.pictures();
    else if (change.properties.evidence) void this.chips(change);
    else this.withoutPictures();
  }

  /** No picture can be shown here: the map keeps its outlines, the timeline its dates. */
  private withoutPictures(): void {
    this.chipped = false;
    this.mode = "one";
    this.map.setPictures(null, null, "one");
    this.pictures();
  }

  private async chips(change: Change): Promise<void> {
    try {
      const [before, after] = await this.layers.chips(change.id);
      if (this.view?.change.id !== change.id) return;
      this.chipped = true;
      this.map.setPictures(before, after, this.mode);
      this.buildToolbar();
      this.timeline.choose(this.first?.properties.scene_id ?? null, this.second?.properties.scene_id ?? null);
      this.say(this.first);
    } catch {
      if (this.view?.change.id === change.id) this.withoutPictures();
    }
  }

  private chooseLook(look: Look, second: boolean): void {
    if (this.chipped) {
      this.timeline.choose(look.properties.scene_id, null);
      announce(`${date(look.properties.datetime)}: ${visibility(look)}`);
      return;
    }
    if (!this.layers.there) second = false;
    if (second || (this.mode !== "one" && this.second === look)) this.second = look;
    else {
      this.first = look;
      if (this.mode !== "one") {
        const { good } = partners(look, this.looks);
        if (!this.second || this.second === look || compare(look, this.second).reasons.length) this.second = good[0] ?? this.second;
      }
    }
    if (second && this.mode === "one") this.mode = "swipe";
    this.pictures();
    announce(`${date(look.properties.datetime)}: ${visibility(look)}`);
  }

  private setMode(mode: Mode): void {
    this.mode = mode;
    if (this.chipped && this.view) void this.chips(this.view.change);
    else if (this.layers.there) this.pictures();
    else this.withoutPictures();
  }

  private pictures(): void {
    this.buildToolbar();
    this.timeline.choose(this.first?.properties.scene_id ?? null, this.mode === "one" ? null : (this.second?.properties.scene_id ?? null));
    if (!this.layers.there) {
      this.say(this.first);
      return;
    }
    const [early, late] = this.pair();
    const lower = early ? this.layers.of(early) : null;
    const upper = late ? this.layers.of(late) : null;
    this.withheld = Boolean(this.first && !lower && clear(this.first));
    this.map.setPictures(lower, upper, this.mode);
    this.say(this.first);
  }

  /** What lies left and right of the divider: the earlier and the later look; one alone where only one is shown. */
  private pair(): [Look | null, Look | null] {
    const [one, two] = [this.first, this.second];
    if (this.mode === "one" || !one || !two || one === two) return [one, null];
    return one.properties.datetime <= two.properties.datetime ? [one, two] : [two, one];
  }

  private say(look: Look | null): void {
    if (!look) {
      this.mapSaid.textContent = this.looks.length ? "No clear look: the ground was not seen." : "";
      return;
    }
    const [early, late] = this.pair();
    const why = this.withheld && clear(look) ? this.layers.why(look) : visibility(look);
    if (this.mode === "flicker") this.mapSaid.textContent = shortDate(look.properties.datetime);
    else if (early && late) this.mapSaid.textContent = `${shortDate(early.properties.datetime)} ◀ ▶ ${shortDate(late.properties.datetime)}`;
    else this.mapSaid.textContent = `${shortDate(look.properties.datetime)}: ${why}`;
    this.mapSaid.classList.toggle("blind", !clear(look));
  }

  /** Whether two pictures could be shown at all: of whole looks, or of the change that is open. */
  private pictured(): boolean {
    return this.layers.there || Boolean(this.view?.change.properties.evidence);
  }

  private buildToolbar(): void {
    const usable = this.looks.filter(clear).length;
    const modes: [Mode, string, string][] = [
      ["one", this.chipped ? "Before" : "One look", ""],
      ["swipe", "Swipe", "s"],
      ["flicker", "Flicker", "f"],
    ];
    replace(
      this.toolbar,
      !this.chipped && this.chooser("Look", this.first, (look) => {
        this.first = look;
        this.pictures();
      }, null),
      h(
        "div",
        { class: "segmented", role: "group", "aria-label": "How to compare" },
        modes.map(([mode, words, key]) =>
          h(
            "button",
            { type: "button", "aria-pressed": String(this.mode === mode), disabled: mode !== "one" && (usable < 2 || !this.pictured()), "aria-keyshortcuts": key || undefined, onclick: () => this.setMode(mode) },
            words,
          ),
        ),
      ),
      this.looks.length > 0 && !this.layers.there && !this.view &&
        h("span", { class: "quiet" }, `No pictures of whole looks are kept here.${this.changes.length ? " A change shows its own, before and after." : ""}`),
      this.mode !== "one" && !this.chipped &&
        this.chooser("with", this.second, (look) => {
          this.second = look;
          this.pictures();
        }, this.first),
    );
  }

  /** All looks by time; beside another one those that go with it first. */
  private chooser(words: string, chosen: Look | null, take: (look: Look) => void, beside: Look | null): HTMLElement {
    const option = (look: Look, more = ""): HTMLElement =>
      h("option", { value: look.properties.scene_id, selected: look === chosen }, `${shortDate(look.properties.datetime)}${more}`);
    const unseen = this.looks.filter((look) => !clear(look));
    const groups: HTMLElement[] = [];
    if (beside) {
      const { good, poor } = partners(beside, this.looks);
      if (good.length) groups.push(h("optgroup", { label: "Comparable, best first" }, good.map((look) => option(look))));
      if (poor.length) groups.push(h("optgroup", { label: "Hard to compare" }, poor.map(([look, why]) => option(look, ` – ${why.join(", ")}`))));
    } else {
      const seen = this.looks.filter(clear);
      if (seen.length) groups.push(h("optgroup", { label: "Clear looks" }, seen.map((look) => option(look, look.properties.usable_fraction < 0.995 ? ` – ${percent(look.properties.usable_fraction)} seen` : ""))));
      if (unseen.length) groups.push(h("optgroup", { label: "Not observable" }, unseen.map((look) => option(look, ` – ${reason(mainReason(look.properties))}`))));
    }
    const select = h("select", {}, groups);
    select.addEventListener("change", () => {
      const look = this.looks.find((candidate) => candidate.properties.scene_id === select.value);
      if (look) take(look);
    });
    return h("label", { class: "field inline" }, h("span", {}, words), select);
  }
}

const KEYS: [string, string][] = [
  ["j k", "next, previous change"],
  ["a r l", "accept, reject, relabel the open change"],
  ["u", "undo the last verdict"],
  ["s f", "swipe, flicker between two looks"],
  ["Esc", "back to the list"],
  ["← →", "on the timeline: earlier, later look; with Shift the second one"],
];

function keysHelp(): HTMLElement {
  return h(
    "details",
    { class: "keys" },
    h("summary", {}, h("h2", {}, "Keys")),
    h("dl", { class: "facts" }, KEYS.map(([keys, words]) => h("div", {}, h("dt", {}, keys.split(" ").map((key) => [h("kbd", {}, key), " "])), h("dd", {}, words)))),
  );
}

/** Whether a change could have been seen: where the report does not tell, two clear looks are no proof of it. */
function couldCompare(report: Report): boolean {
  return (report.compared ?? []).some((part) => (part.comparable_fraction ?? 0) >= LEAST_COMPARED);
}

function notice(kind: string, title: string, text: string, more: string): HTMLElement {
  return h("div", { class: `notice ${kind}` }, h("h2", {}, title), h("p", {}, text), more && h("p", { class: "quiet" }, more));
}
