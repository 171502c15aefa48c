/** Talking to the service: the key, patience with limits, pages, pictures, and live events. */

import type { FeedEntry, Job } from "./types";

const KEY = "depotwatch.key";
const PATIENT_TRIES = 6;

export interface Fault {
  pointer: string;
  code: string;
  detail: string;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly errors: Fault[] = [],
  ) {
    super(detail);
  }
}

/** Take the one-time key out of the address, so that it stays neither in view nor in the history. */
export function takeKeyFromAddress(): void {
  const match = /^#(.*?)&?key=([^&]*)&?(.*)$/.exec(location.hash);
  if (!match) return;
  if (match[2]) sessionStorage.setItem(KEY, decodeURIComponent(match[2]));
  const rest = `${match[1] ?? ""}${match[3] ?? ""}`;
  history.replaceState(null, "", `${location.pathname}${rest ? `#${rest}` : ""}`);
}

export function keepKey(key: string): void {
  sessionStorage.setItem(KEY, key.trim());
}

export function forgetKey(): void {
  sessionStorage.removeItem(KEY);
}

export function hasKey(): boolean {
  return sessionStorage.getItem(KEY) !== null;
}

/** A short name of whose data this browser session shows, for what is kept per key; never the secret part. */
export function keyName(): string {
  const key = sessionStorage.getItem(KEY) ?? "";
  return /^dw_([0-9a-f]+)_/.exec(key)?.[1] ?? "open";
}

type Waiting = (seconds: number) => void;
let onWaiting: Waiting = () => undefined;

/** Be told when the service asks to wait (429, 503), in seconds; 0 when it is over. */
export function whenWaiting(tell: Waiting): void {
  onWaiting = tell;
}

export interface Options {
  method?: string;
  body?: BodyInit;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  keepalive?: boolean;
}

function headersOf(options: Options): Headers {
  const headers = new Headers(options.headers);
  const key = sessionStorage.getItem(KEY);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  return headers;
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => window.setTimeout(resolve, ms));
}

/** Fetch; wait where the service asks to. Rejects with ApiError for anything but a success. */
export async function request(path: string, options: Options = {}): Promise<Response> {
  for (let attempt = 1; ; attempt += 1) {
    let response: Response;
    try {
      response = await fetch(path, { ...options, headers: headersOf(options), credentials: "omit" });
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new ApiError(0, "service-away", "The service does not answer. It may have been stopped.");
    }
    if (response.ok) {
      if (attempt > 1) onWaiting(0);
      return response;
    }
    const wait = Number(response.headers.get("Retry-After") ?? "0");
    const passing = response.status === 429 || response.status === 503;
    if (passing && wait > 0 && attempt < PATIENT_TRIES) {
      onWaiting(wait);
      await pause(wait * 1000);
      continue;
    }
    onWaiting(0);
    throw await errorOf(response);
  }
}

async function errorOf(response: Response): Promise<ApiError> {
  try {
    const problem = (await response.json()) as { code?: string; detail?: string; errors?: Fault[] };
    const detail = problem.detail ?? response.statusText;
    return new ApiError(response.status, problem.code ?? "error", detail, problem.errors ?? []);
  } catch {
    return new ApiError(response.status, "error", `The service answered ${response.status}.`);
  }
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await request(path, signal ? { signal } : {});
  return (await response.json()) as T;
}

export async function send<T>(
  method: string,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<T> {
  const response = await request(path, {
    method,
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", ...headers },
  });
  return (await response.json()) as T;
}

/** Follow `next` links; yields each page. */
export async function* pages<T extends { links?: { rel: string; href: string }[] }>(
  path: string,
  signal?: AbortSignal,
): AsyncGenerator<T> {
  let here: string | null = path;
  while (here !== null) {
    const page: T = await get<T>(here, signal);
    yield page;
    const next = page.links?.find((link) => link.rel === "next");
    here = next ? samePlace(next.href) : null;
  }
}

/** Links may name the service by an address of its operator's; the page goes on at the one it came from. */
function samePlace(href: string): string {
  const url = new URL(href, location.href);
  return url.pathname + url.search;
}

export async function feedAfter(cursor: string | null, limit: number): Promise<{ entries: FeedEntry[]; cursor: string }> {
  const since = cursor ? `&since=${encodeURIComponent(cursor)}` : "";
  return get(`/changes?limit=${limit}${since}`);
}

const pictures = new Map<string, Promise<string>>();
const MOST_PICTURES = 400;

/** An object URL of a picture that needs the key; kept, the oldest given back. */
export function picture(path: string): Promise<string> {
  const known = pictures.get(path);
  if (known) {
    pictures.delete(path);
    pictures.set(path, known);
    return known;
  }
  const made = request(path)
    .then((response) => response.blob())
    .then((blob) => URL.createObjectURL(blob));
  made.catch(() => pictures.delete(path));
  pictures.set(path, made);
  if (pictures.size > MOST_PICTURES) {
    const [oldest, url] = pictures.entries().next().value as [string, Promise<string>];
    pictures.delete(oldest);
    url.then((text) => URL.revokeObjectURL(text)).catch(() => undefined);
  }
  return made;
}

/** Save a file that needs the key under a name. */
export async function download(path: string, name: string): Promise<void> {
  const blob = await (await request(path)).blob();
  const url = URL.createObjectURL(blob);
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
  window.setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/**
 * Follow a job until it ends or `signal` stops it. An EventSource cannot carry a key, so the stream is read by hand;
 * after a break it goes on behind the last event seen.
 */
export async function followJob(id: string, tell: (job: Job) => void, signal: AbortSignal): Promise<void> {
  let last = "";
  let retry = 2000;
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (last) headers["Last-Event-ID"] = last;
      const response = await request(`/jobs/${id}/events`, { headers, signal });
      if (response.status === 204 || !response.body) return;
      const ended = await readEvents(response.body, (event) => {
        if (event.id) last = event.id;
        if (event.retry) retry = event.retry;
        if (!event.data) return false;
        const job = JSON.parse(event.data) as Job;
        tell(job);
        return ["successful", "failed", "dismissed"].includes(job.state);
      });
      if (ended) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status !== 0 && error.status < 500) throw error;
    }
    await pause(retry);
  }
}

interface ServerEvent {
  id?: string;
  data?: string;
  retry?: number;
}

/** Read server-sent events until `take` says that was the last, or the stream ends. */
async function readEvents(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  take: (event: ServerEvent) => boolean,
): Promise<boolean> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return false;
    buffer += value;
    let end: number;
    while ((end = buffer.indexOf("\n\n")) >= 0) {
      const event = parseEvent(buffer.slice(0, end));
      buffer = buffer.slice(end + 2);
      if (take(event)) {
        await reader.cancel();
        return true;
      }
    }
  }
}

function parseEvent(text: string): ServerEvent {
  const event: ServerEvent = {};
  for (const line of text.split("\n")) {
    const [, name = "", value = ""] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (name === "id") event.id = value;
    else if (name === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
    else if (name === "retry" && /^\d+$/.test(value)) event.retry = Number(value);
  }
  return event;
}
