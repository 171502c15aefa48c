/** All sites: one list, one map, and what is new since the last visit. */

import { get, pages } from "./api";
import { append, h, later, replace } from "./dom";
import { markSeen, readNews, type News } from "./feed";
import { go, type Page } from "./places";
import type { Site } from "./types";
import { ago, area, plural, shortDate } from "./words";
import { WorldMap } from "./worldmap";

const PAGE = 1000;
const SHOWN = 200;

/** What a site's looks of all time amount to, as the digest of the day tells it. */
interface Standing {
  site: string;
  state: "news" | "quiet" | "no_new_look" | "not_observable" | "no_report";
  statement: string;
  looks: { looks: number; clear: number; last_clear: string | null };
}

export async function openOverview(root: HTMLElement, signal: AbortSignal): Promise<Page> {
  const sites: Site[] = [];
  for await (const page of pages<{ features: Site[]; links: { rel: string; href: string }[] }>(`/sites?limit=${PAGE}`, signal)) {
    sites.push(...page.features);
  }
  return new Overview(sites, root);
}

class Overview implements Page {
  readonly title = "All sites";
  private readonly list = h("ul", { class: "site-list" });
  private readonly said = h("p", { class: "quiet", role: "status" });
  private readonly newsSaid = h("div", { class: "news" });
  private readonly unknown = h("p", { class: "quiet" });
  private readonly search = h("input", { type: "search", placeholder: "Search by name", "aria-label": "Search sites by name" });
  private readonly order = h("select", { "aria-label": "Order" }, h("option", { value: "news" }, "news first"), h("option", { value: "name" }, "by name"), h("option", { value: "time" }, "latest first"));
  private readonly only = h("input", { type: "checkbox" });
  private readonly map: WorldMap | null = null;
  private news: News = { since: null, bySite: new Map(), entries: [] };
  private limit = SHOWN;
  private standings: ReadonlyMap<string, Standing> = new Map();

  constructor(
    private readonly sites: Site[],
    root: HTMLElement,
  ) {
    if (!sites.length) {
      append(root, [this.empty()]);
      return;
    }
    const mapBox = h("div", { class: "map world", tabindex: "0", role: "application", "aria-label": "Map of all sites; the list beside it holds the same" });
    append(root, [
      h(
        "div",
        { class: "overview" },
        h(
          "section",
          { class: "panel", "aria-labelledby": "sites-title" },
          h("h1", { id: "sites-title", tabindex: "-1" }, "All sites"),
          this.newsSaid,
          this.unknown,
          h("div", { class: "list-tools" }, this.search, this.order, h("label", { class: "tick" }, this.only, " only with news")),
          this.said,
          this.list,
        ),
        h("section", { class: "stage", "aria-label": "Map" }, h("div", { class: "map-box" }, mapBox), mapKey()),
      ),
    ]);
    const again = later(80, () => {
      this.limit = SHOWN;
      this.render();
    });
    this.search.addEventListener("input", again);
    this.order.addEventListener("change", again);
    this.only.addEventListener("change", again);
    this.map = new WorldMap(mapBox, { onPick: (id) => go(`/sites/${id}`) });
    this.map.setSites(sites, new Map());
    this.map.fitSites();
    this.render();
    void this.follow();
    void this.readStandings();
  }

  dispose(): void {
    this.map?.dispose();
  }

  private async follow(): Promise<void> {
    try {
      await readNews((news) => {
        this.news = news;
        this.showNews();
      });
    } catch {
      replace(this.newsSaid, h("p", { class: "quiet" }, "What is new could not be read just now."));
    }
  }

  /** What can be said of each site at all: a list without it would let the unseen ones look quiet. */
  private async readStandings(): Promise<void> {
    const today = new Date().toISOString().slice(0, 10);
    try {
      const { sites } = await get<{ sites: Standing[] }>(`/digests/${today}`);
      this.standings = new Map(sites.map((site) => [site.site, site]));
      this.map?.setUnseen(new Set(sites.filter((site) => site.state === "not_observable").map((site) => site.site)));
      this.render();
    } catch {
      replace(this.unknown, "Which sites could be seen at all could not be read just now.");
    }
  }

  private showNews(): void {
    const { since, bySite, entries } = this.news;
    if (!since) {
      replace(this.newsSaid, h("p", { class: "quiet" }, "Your first visit here: from now on, what is new is marked."));
      return;
    }
    const counts = new Map<string, number>();
    for (const entry of entries) counts.set(entry.event, (counts.get(entry.event) ?? 0) + 1);
    const parts = [...counts].map(([event, n]) => `${n} ${event}`);
    replace(
      this.newsSaid,
      h(
        "p",
        {},
        entries.length ? h("b", {}, `${plural(entries.length, "change")} since your last visit`) : "Nothing new since your last visit",
        h("span", { class: "quiet" }, ` (${ago(since)})${parts.length ? `: ${parts.join(", ")}, on ${plural(bySite.size, "site")}` : ""} `),
        entries.length > 0 &&
          h("button", {
            type: "button", class: "link",
            onclick: () => {
              markSeen();
              this.news = { since: new Date().toISOString(), bySite: new Map(), entries: [] };
              this.showNews();
            },
          }, "Mark all as seen"),
      ),
    );
    this.map?.setFresh(bySite);
    this.render();
  }

  private render(): void {
    const words = this.search.value.trim().toLowerCase();
    const found = this.sites.filter(
      (site) => site.properties.name.toLowerCase().includes(words) && (!this.only.checked || this.news.bySite.has(site.id)),
    );
    const news = (site: Site): number => this.news.bySite.get(site.id) ?? 0;
    const byName = (one: Site, two: Site): number => one.properties.name.localeCompare(two.properties.name, undefined, { numeric: true });
    if (this.order.value === "name") found.sort(byName);
    else if (this.order.value === "time") found.sort((one, two) => two.properties.updated.localeCompare(one.properties.updated));
    else found.sort((one, two) => news(two) - news(one) || byName(one, two));
    replace(this.said, found.length === this.sites.length ? plural(found.length, "site") : `${found.length} of ${plural(this.sites.length, "site")}`);
    replace(
      this.list,
      found.slice(0, this.limit).map((site) => this.row(site, news(site))),
      found.length > this.limit &&
        h("li", {}, h("button", { type: "button", onclick: () => {
          this.limit += SHOWN;
          this.render();
        } }, `Show ${Math.min(SHOWN, found.length - this.limit)} more`)),
    );
    this.map?.setSites(found, this.news.bySite);
  }

  private row(site: Site, news: number): HTMLElement {
    const p = site.properties;
    const standing = this.standings.get(site.id);
    const seen = standing?.looks.last_clear ? `last clear look ${shortDate(standing.looks.last_clear)}` : standing?.looks.looks ? "no clear look" : `added ${shortDate(p.created)}`;
    return h(
      "li",
      { onmouseenter: () => this.map?.hover(site.id), onmouseleave: () => this.map?.hover(null) },
      h(
        "a",
        { href: `#/sites/${site.id}`, class: "site-row" },
        h("span", { class: "site-name" }, p.name),
        h(
          "span",
          { class: "site-badges" },
          standing?.state === "not_observable" && h("span", { class: "badge blind", title: standing.statement }, unseen(standing)),
          news > 0 && h("span", { class: "badge news-badge" }, `${news} new`),
        ),
        h("span", { class: "quiet" }, p.current_report ? `report ${p.reports}` : "no report yet", ` · ${area(p.area_m2)} · ${seen}`),
      ),
    );
  }

  private empty(): HTMLElement {
    return h(
      "section",
      { class: "empty" },
      h("h1", { tabindex: "-1" }, "No sites yet"),
      h("p", { class: "deck" }, "A site is a place you watch: draw its outline, or drop a GeoJSON, KML or CSV file. The first report comes by itself."),
      h("p", {}, h("a", { class: "button primary", href: "#/add" }, "Add your first site")),
    );
  }
}

function unseen({ looks }: Standing): string {
  return looks.clear ? "nothing to compare" : "not observable";
}

function mapKey(): HTMLElement {
  const entries: [string, string][] = [["site", "a site"], ["site fresh", "new since your last visit"], ["site blind", "not observable, or nothing to compare"]];
  return h("p", { class: "map-key" }, entries.map(([kind, words]) => h("span", { class: "legend-entry" }, h("i", { class: kind }), ` ${words}`)));
}

export async function siteNames(): Promise<Map<string, string>> {
  const names = new Map<string, string>();
  for await (const page of pages<{ features: Site[]; links: { rel: string; href: string }[] }>(`/sites?limit=${PAGE}`)) {
    for (const site of page.features) names.set(site.id, site.properties.name);
  }
  return names;
}

export async function siteName(id: string): Promise<string> {
  return (await get<Site>(`/sites/${id}`)).properties.name;
}
