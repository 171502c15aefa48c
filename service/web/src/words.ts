/** The words of the page: what is visible, never contents or intent; an onset is an interval, never one date. */

import type { Change, Direction, Interval, Job, Look, LookProperties } from "./types";

const CLASSES: Record<string, [string, string]> = {
  container: ["Container", "Containers"],
  berm: ["Berm", "Berms"],
  other: ["Not identified", "Not identified"],
};

const REASONS: Record<string, string> = {
  outside_footprint: "outside the scene",
  nodata: "no data",
  cloud: "cloud",
  cloud_shadow: "cloud shadow",
  snow: "snow",
  saturated: "saturated",
  misregistered: "could not be lined up",
  too_coarse: "pixels too coarse",
  poor_view: "viewed too obliquely",
  poor_light: "too little light",
  no_overlap: "could not be lined up",
  not_registered: "could not be lined up",
  not_used: "not used",
  not_usable: "too little of the site seen",
};

export const STATUSES: Record<string, string> = {
  first: "seen once",
  provisional: "seen twice",
  confirmed: "confirmed by several looks",
  closed: "closed: later looks show it undone",
  retracted: "retracted by a later run",
};

/** The same in a word, for lists. */
export const STATUS_WORDS: Record<string, string> = {
  first: "seen once",
  provisional: "seen twice",
  confirmed: "confirmed",
  closed: "undone since",
  retracted: "retracted",
};

export const STATES: Record<Job["state"], string> = {
  accepted: "waiting",
  running: "running",
  successful: "done",
  failed: "failed",
  dismissed: "dismissed",
};

/** Names of the evidence terms, as a reader understands them. */
export const EVIDENCE: Record<string, string> = {
  series: "Step in the series of looks",
  stands: "Looks like the object where it should stand",
  missing: "Does not where it should not",
  step: "How far the two lie apart",
  structure: "Texture of the place changed",
  rival: "Against other kinds of object",
  shift: "Survives a half-pixel shift",
  agreement: "Looks agree with each other",
  shown: "Independent looks that show it",
  without: "Looks that show the place without it",
  passing: "Seen more than in passing",
  once: "Seen more than once",
  steady: "Steady on either side",
  size: "Area",
  length: "Length",
  width: "Width",
  fill: "Fills its box",
  peak: "Clearest part of it",
  empty: "Emptiest without it",
  outline: "Edges along its outline",
  contrast: "Stands out from its ground",
  shadow: "Shadow on the side away from the sun",
  lit: "More than a shadow",
  light: "Sun across its flanks",
  pixel: "Pixel size",
  looks: "Number of looks",
  appearance: "Looks like one, against what was there before",
  base: "Before anything is known of it",
  rarity: "Changed more than nearly all of the site",
  "stands out": "Differs from its surroundings only on one side",
  "one date": "Shown by one date only",
  "third date": "Shown by a third date",
  extent: "Area",
  wide: "Wider than such changes are",
  sun: "Does not come and go with the sun",
  vegetation: "Green on one side, as fields are",
};

export function className(kind: string, many = false): string {
  const known = CLASSES[kind];
  if (known) return known[many ? 1 : 0];
  return kind.charAt(0).toUpperCase() + kind.slice(1).replaceAll("_", " ");
}

export function reason(label: string | null | undefined): string {
  if (!label) return "reason not stated";
  return REASONS[label] ?? label.replaceAll("_", " ");
}

const MONTHS = "January February March April May June July August September October November December".split(" ");
const SHORT = MONTHS.map((month) => month.slice(0, 3));

/** 3 March 2024, in UTC. */
export function date(text: string): string {
  const t = new Date(text);
  return `${t.getUTCDate()} ${MONTHS[t.getUTCMonth()]} ${t.getUTCFullYear()}`;
}

export function shortDate(text: string | number): string {
  const t = new Date(text);
  return `${t.getUTCDate()} ${SHORT[t.getUTCMonth()]} ${t.getUTCFullYear()}`;
}

export function moment(text: string): string {
  const t = new Date(text);
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${shortDate(text)}, ${two(t.getUTCHours())}:${two(t.getUTCMinutes())} UTC`;
}

/** between 6 July and 28 August 2023 */
export function onset(change: Change): string {
  const { last_absent: from, first_seen: to } = change.properties;
  return `between ${date(from)} and ${date(to)}`;
}

export function shortOnset(change: Change): string {
  const { last_absent: from, first_seen: to } = change.properties;
  return `${shortDate(from)} – ${shortDate(to)}`;
}

/** What the two ends of the onset interval are, which differs by direction. */
export function onsetEnds(direction: Direction): [string, string] {
  return direction === "appeared"
    ? ["Last clear look without it", "First clear look with it"]
    : ["Last clear look with it", "First clear look without it"];
}

export function heading(change: Change): string {
  const p = change.properties;
  const many = p.change_type === "container" && (p.count === null || p.count >= 2);
  return p.change_type === "other" ? `${className(p.change_type)}, ${p.direction}` : `${className(p.change_type, many)} ${p.direction}`;
}

export function count(change: Change): string {
  const p = change.properties;
  if (p.count === null) return p.change_type === "container" ? "not counted" : "";
  return `${p.count} (${Math.floor(p.count_low ?? p.count)}–${Math.ceil(p.count_high ?? p.count)})`;
}

/** Thin spaces between thousands, as the report prints them. */
export function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
}

/** Two significant digits above ten, thin spaces in thousands, as the report prints them. */
export function metres(value: number): string {
  if (value < 10) return value.toFixed(1);
  const step = 10 ** Math.max(0, String(Math.trunc(value)).length - 2);
  return grouped(Math.round(value / step) * step);
}

export function area(m2: number): string {
  return m2 >= 1e6 ? `${(m2 / 1e6).toFixed(1)} km²` : `${metres(m2)} m²`;
}

export function interval(low: number | null, high: number | null): string {
  if (low === null || high === null) return "";
  return `${metres(low)}–${metres(high)}`;
}

export function spread(value: Interval, whole = false): string {
  return whole
    ? `${Math.round(value.value)} (${Math.floor(value.low)}–${Math.ceil(value.high)})`
    : `${metres(value.value)} (${metres(value.low)}–${metres(value.high)})`;
}

export function percent(share: number): string {
  const value = share * 100;
  if (value > 0 && value < 1) return "under 1 %";
  if (value > 99 && value < 100) return "over 99 %";
  return `${Math.round(value)} %`;
}

/** A remark of the service as a sentence: capital first, full stop last. */
export function sentence(text: string): string {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${grouped(n)} ${n === 1 ? one : many}`;
}

/** The observation state that cost a look the most; null where it was clear. */
export function mainReason(look: LookProperties): string | null {
  const lost = Object.entries(look.fractions ?? {}).filter(([name, share]) => name !== "observed" && share > 0);
  lost.sort((a, b) => b[1] - a[1]);
  if (lost[0]) return lost[0][0];
  if (!look.used) return look.notes?.at(-1) ?? "misregistered";
  return null;
}

/** How much of the site a look showed, in words. */
export function visibility(look: Look): string {
  const p = look.properties;
  const why = mainReason(p);
  if (!p.used || p.usable_fraction <= 0) return `not observable: ${reason(why)}`;
  if (p.usable_fraction < 0.995) return `${percent(p.usable_fraction)} of the site seen${why ? `; rest: ${reason(why)}` : ""}`;
  return "whole site seen";
}

export function ago(text: string, now = Date.now()): string {
  const seconds = Math.max(0, (now - Date.parse(text)) / 1000);
  if (seconds < 90) return "just now";
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} days ago`;
}
