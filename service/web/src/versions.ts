/** Two processing versions of a site beside each other: what is new, lost, moved or called otherwise, and why. */

import { get, pages } from "./api";
import { append, h, replace } from "./dom";
import { go, type Page, type Place } from "./places";
import type { ReportHead, Site } from "./types";
import { moment } from "./words";

export async function openVersions(place: Place, root: HTMLElement, signal: AbortSignal): Promise<Page> {
  const site = await get<Site>(`/sites/${place.site}`, signal);
  const reports: ReportHead[] = [];
  for await (const page of pages<{ reports: ReportHead[]; links: { rel: string; href: string }[] }>(`/sites/${site.id}/reports?limit=1000`, signal)) {
    reports.push(...page.reports);
  }
  const first = choice(reports, 1);
  const second = choice(reports, 0);
  append(root, [
    h(
      "section",
      { class: "narrow" },
      h("p", { class: "crumbs" }, h("a", { href: `#/sites/${site.id}` }, site.properties.name)),
      h("h1", { tabindex: "-1" }, "Compare versions"),
      h("p", { class: "pick" }, first, second, h("button", { type: "button", onclick: () => go(`/compare/${first.value}..${second.value}`) }, "Compare")),
    ),
  ]);
  return { title: "Compare versions", dispose: () => undefined };
}

function choice(reports: readonly ReportHead[], chosen: number): HTMLSelectElement {
  const select = h("select", { "aria-label": "Report" });
  replace(select, reports.map((report, index) => h("option", { value: report.id, selected: index === chosen }, `number ${report.number}, ${moment(report.created)}${report.current ? ", current" : ""}`)));
  return select;
}
