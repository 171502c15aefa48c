/** Jobs, live: what runs, what came of it, and why something did not. */

import { followJob, get, pages, request } from "./api";
import { append, h, replace } from "./dom";
import { siteNames } from "./overview";
import { type Page, type Place } from "./places";
import { toast } from "./toast";
import type { Job } from "./types";
import { ago, moment, plural, STATES } from "./words";

const TYPES: Record<string, string> = { analyse: "Analyse", reprocess: "Reprocess", verify: "Verify" };
const MOST_STREAMS = 4;
const LISTED = 100;
/** Jobs of one site whose site is looked up: as many as a screen or two shows. */
const MOST_NAMED = 30;

interface LogLine {
  time: string;
  level: string;
  site: string | null;
  code: string;
  message: string;
}

interface Outcome {
  site: string;
  state: string;
  report: string | null;
  code: string | null;
  detail: string | null;
}

export async function openJobs(place: Place, root: HTMLElement, signal: AbortSignal): Promise<Page> {
  return place.job ? openJob(place.job, root, signal) : openList(root, signal);
}

function active(job: Job): boolean {
  return job.state === "accepted" || job.state === "running";
}

async function openList(root: HTMLElement, signal: AbortSignal): Promise<Page> {
  const { jobs } = await get<{ jobs: Job[] }>(`/jobs?limit=${LISTED}`, signal);
  const stop = new AbortController();
  const rows = jobs.map((job) => {
    const row = h("li", { class: "job-row" });
    replace(row, summary(job, true));
    return row;
  });
  append(root, [
    h("section", { class: "narrow" }, h("h1", { tabindex: "-1" }, "Jobs"), jobs.length ? h("ul", { class: "job-list" }, rows) : h("p", { class: "deck" }, "No jobs yet. Adding a site starts the first one.")),
  ]);
  void nameSites(jobs, rows, stop.signal).catch(() => undefined); // Without names the list is less telling, not wrong.
  jobs
    .map((job, index) => ({ job, row: rows[index] }))
    .filter(({ job }) => active(job))
    .slice(0, MOST_STREAMS)
    .forEach(({ job, row }) => {
      if (row) void followJob(job.id, (seen) => replace(row, summary(seen, true)), stop.signal).catch(() => undefined);
    });
  return { title: "Jobs", dispose: () => stop.abort() };
}

/** Jobs of a single site bear its name: a column of “Analyse 1 site” tells nothing. Asked one after another, newest first. */
async function nameSites(jobs: readonly Job[], rows: readonly HTMLElement[], signal: AbortSignal): Promise<void> {
  const single = jobs.map((job, index) => ({ job, row: rows[index] })).filter(({ job }) => job.units.total === 1 && !active(job));
  if (!single.length) return;
  const names = await siteNames();
  for (const { job, row } of single.slice(0, MOST_NAMED)) {
    if (signal.aborted) return;
    const { results: found } = await get<{ results: Outcome[] }>(`/jobs/${job.id}/results?limit=1`, signal);
    const name = names.get(found[0]?.site ?? "");
    if (name && row) append(row.querySelector(".job-title") ?? row, [h("span", { class: "job-site" }, ` ${name}`)]);
  }
}

function summary(job: Job, linked: boolean): HTMLElement {
  const units = job.units;
  const name = `${TYPES[job.type] ?? job.type} ${plural(units.total, "site")}`;
  const counts = [
    `${units.done} done`,
    units.cached ? `${units.cached} unchanged` : "",
    units.skipped ? `${units.skipped} skipped` : "",
    units.failed ? `${units.failed} failed` : "",
  ].filter(Boolean);
  return h(
    "div",
    { class: `job ${job.state}` },
    h("div", { class: "job-title" }, linked ? h("a", { href: `#/jobs/${job.id}` }, name) : h("b", {}, name), " ", h("span", { class: `badge state ${job.state}` }, STATES[job.state]), h("span", { class: "quiet" }, ` ${ago(job.created)}, ${job.reason.replaceAll("-", " ")}`)),
    h("progress", { max: "100", value: String(job.progress), "aria-label": `Progress of ${name}` }),
    h("div", { class: "quiet" }, `${Math.round(job.progress)} % · ${counts.join(", ")}${job.step && active(job) ? ` · now: ${job.step}` : ""}`),
  );
}

async function openJob(id: string, root: HTMLElement, signal: AbortSignal): Promise<Page> {
  const job = await get<Job>(`/jobs/${id}`, signal);
  const stop = new AbortController();
  const head = h("div", {});
  const below = h("div", {});
  const names = siteNames().catch(() => new Map<string, string>());
  const show = (seen: Job): void => {
    replace(
      head,
      summary(seen, false),
      h("p", { class: "quiet" }, `Asked ${moment(seen.created)}${seen.started ? `, begun ${moment(seen.started)}` : ""}${seen.finished ? `, ended ${moment(seen.finished)}` : ""}`),
      active(seen) && h("p", {}, h("button", { type: "button", onclick: () => void dismiss(id) }, "Dismiss"), h("span", { class: "quiet" }, " What is finished stays.")),
      !active(seen) && seen.type !== "verify" && seen.units.done > 0 && h("p", {}, h("a", { class: "button primary", href: `#/jobs/${id}/comparison` }, "Compare with what was current")),
    );
  };
  show(job);
  append(root, [h("section", { class: "narrow" }, h("p", { class: "crumbs" }, h("a", { href: "#/jobs" }, "Jobs")), h("h1", { tabindex: "-1" }, "Job"), head, below)]);
  const finish = async (): Promise<void> => {
    try {
      replace(below, await results(id, await names), await logs(id, await names));
    } catch (error) {
      if (!stop.signal.aborted) replace(below, h("p", { class: "fault", role: "alert" }, `What came of it could not be read: ${(error as Error).message}`));
    }
  };
  if (active(job)) {
    void followJob(id, show, stop.signal)
      .then(async () => {
        if (!stop.signal.aborted) await finish();
      })
      .catch((error: Error) => toast(error.message, null));
  } else await finish();
  return { title: "Job", dispose: () => stop.abort() };
}

async function dismiss(id: string): Promise<void> {
  try {
    await request(`/jobs/${id}`, { method: "DELETE" });
  } catch (error) {
    toast((error as Error).message, null);
  }
}

async function results(id: string, names: ReadonlyMap<string, string>): Promise<HTMLElement> {
  const { results: found } = await get<{ results: Outcome[] }>(`/jobs/${id}/results?limit=200`);
  return h(
    "section",
    {},
    h("h2", {}, "Results"),
    h("ul", { class: "plain" }, found.map((outcome) =>
      h("li", {}, h("a", { href: `#/sites/${outcome.site}` }, names.get(outcome.site) ?? "a site"), ` ${outcome.report ? "has a report" : outcome.state}`, outcome.code && h("span", { class: "fault" }, ` ${outcome.detail ?? outcome.code}`)),
    )),
  );
}

async function logs(id: string, names: ReadonlyMap<string, string>): Promise<HTMLElement> {
  const lines: LogLine[] = [];
  for await (const page of pages<{ lines: LogLine[]; links: { rel: string; href: string }[] }>(`/jobs/${id}/logs?limit=1000`)) {
    lines.push(...page.lines);
    if (lines.length >= 2000) break;
  }
  return h(
    "section",
    {},
    h("h2", {}, "Log"),
    lines.length
      ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Log" }, h("table", {}, h("thead", {}, h("tr", {}, ["Time", "Site", "Code", "What"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, lines.map((line) =>
          h("tr", { class: line.level }, h("td", {}, moment(line.time)), h("td", {}, line.site ? (names.get(line.site) ?? "") : ""), h("td", {}, h("code", {}, line.code)), h("td", {}, line.message)),
        ))))
      : h("p", { class: "quiet" }, "Nothing out of the ordinary."),
  );
}
