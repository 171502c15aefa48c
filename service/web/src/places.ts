/** Where in the page one is: an address behind the hash, so that every view is a link. */

export interface Place {
  view: "overview" | "site" | "versions" | "jobs" | "job" | "add" | "compare" | "lost";
  site?: string;
  change?: string;
  job?: string;
  pair?: [string, string];
}

export interface Page {
  readonly title: string;
  dispose(): void;
  /** True where the page itself goes to another place of its own. */
  moved?(place: Place): boolean;
}

const ID = "([A-Za-z0-9._-]{1,80})";
const PATTERNS: [RegExp, (parts: string[]) => Place][] = [
  [/^\/?$/, () => ({ view: "overview" })],
  [new RegExp(`^/sites/${ID}/versions$`), ([site = ""]) => ({ view: "versions", site })],
  [new RegExp(`^/sites/${ID}/changes/${ID}$`), ([site = "", change = ""]) => ({ view: "site", site, change })],
  [new RegExp(`^/sites/${ID}$`), ([site = ""]) => ({ view: "site", site })],
  [/^\/jobs$/, () => ({ view: "jobs" })],
  [new RegExp(`^/jobs/${ID}$`), ([job = ""]) => ({ view: "job", job })],
  [new RegExp(`^/jobs/${ID}/comparison$`), ([job = ""]) => ({ view: "compare", job })],
  [/^\/add$/, () => ({ view: "add" })],
  [/^\/compare\/([A-Za-z0-9_-]+)\.\.([A-Za-z0-9_-]+)$/, ([a = "", b = ""]) => ({ view: "compare", pair: [a, b] })],
];

export function placeOf(hash: string): Place {
  const path = decodeURIComponent(hash.replace(/^#/, "")).replace(/\?.*$/, "");
  for (const [pattern, make] of PATTERNS) {
    const match = pattern.exec(path);
    if (match) return make(match.slice(1));
  }
  return { view: "lost" };
}

export function go(path: string): void {
  location.hash = path;
}
