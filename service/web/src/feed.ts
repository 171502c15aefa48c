/** What became known since the last visit: the feed's cursor is kept in this browser, per key. */

import { feedAfter, keyName } from "./api";
import type { FeedEntry } from "./types";

const PAGE = 500;
const MOST_PAGES = 200;

interface Kept {
  cursor: string;
  at: string;
}

function name(): string {
  return `depotwatch.feed.${keyName()}`;
}

function kept(store: Storage): Kept | null {
  try {
    return JSON.parse(store.getItem(name()) ?? "null") as Kept | null;
  } catch {
    return null;
  }
}

export interface News {
  /** Null on a first visit: then everything is new, which says nothing. */
  since: string | null;
  bySite: Map<string, number>;
  entries: FeedEntry[];
}

/**
 * Read the feed from where the last visit ended. A visit is a browser session: what is new stays marked until it ends,
 * or until the reader says it is seen.
 */
export async function readNews(tell: (news: News) => void): Promise<void> {
  const last = kept(localStorage);
  const base = kept(sessionStorage) ?? last;
  if (base) sessionStorage.setItem(name(), JSON.stringify(base));
  const news: News = { since: base?.at ?? null, bySite: new Map(), entries: [] };
  tell(news);
  let cursor = base?.cursor ?? null;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const found = await feedAfter(cursor, PAGE);
    cursor = found.cursor;
    if (base) {
      for (const entry of found.entries) {
        if (entry.event === "superseded") continue;
        news.bySite.set(entry.site, (news.bySite.get(entry.site) ?? 0) + 1);
        news.entries.push(entry);
      }
      tell(news);
    }
    localStorage.setItem(name(), JSON.stringify({ cursor, at: new Date().toISOString() }));
    if (found.entries.length < PAGE) return;
  }
}

export function markSeen(): void {
  const last = kept(localStorage);
  if (last) sessionStorage.setItem(name(), JSON.stringify(last));
}
