/** What stood on the site over time, with its interval; what each look could see, and why not; dated events. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { append, h, replace } from "./dom";
import { colour } from "./symbols";
import type { Change, Look, TimelinePoint } from "./types";
import { area, className, date, grouped, mainReason, metres, percent, plural, reason, shortDate, visibility } from "./words";

export interface Span {
  id: string;
  label: string;
  start: string;
  end: string;
  /** When a change that goes with it is looked for. */
  tested: [string, string];
}

interface Metric {
  kind: string;
  measure: "count" | "area";
}

/** From this share on a look is taken to have seen the site. */
const WHOLE = 0.9;
const LANE_PX = 30;
/** Between the margins of A4 and of Letter. */
const PRINT_PX = 660;
const EVENT_PX = 16;
/** What is shown before and after a look that is alone. */
const ALONE_S = 45 * 86_400;

/** Patterns of the reasons, so that they differ without colour: angle and spacing of hatching. */
const HATCH: Record<string, [number, number]> = {
  cloud: [45, 5],
  cloud_shadow: [-45, 4],
  snow: [90, 5],
  nodata: [0, 4],
  outside_footprint: [0, 7],
  misregistered: [60, 3],
  poor_light: [30, 7],
  poor_view: [-30, 7],
};

export class Timeline {
  readonly element: HTMLElement;
  private plot: uPlot | null = null;
  private readonly stage = h("div", { class: "timeline-stage" });
  private readonly said = h("p", { class: "timeline-said" });
  private readonly control: HTMLElement;
  private readonly chooser = h("select", { "aria-label": "What the curve shows" });
  private looks: Look[] = [];
  private points: TimelinePoint[] = [];
  private chosen = -1;
  private partner = -1;
  private hovered = -1;
  private events: Span[] = [];
  private marked: Change | null = null;
  private readonly watcher: ResizeObserver;
  private readonly scheme = matchMedia("(prefers-color-scheme: dark)");
  private readonly onScheme = (): void => this.draw();
  private readonly ended = new AbortController();
  private printing = false;

  constructor(private readonly onChoose: (look: Look, second: boolean) => void) {
    this.control = h("div", {
      class: "timeline-control", tabindex: "0", role: "slider", "aria-label": "Look shown on the map",
      "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0",
      onkeydown: (event: KeyboardEvent) => this.onKey(event),
    }, this.stage);
    this.element = h(
      "section",
      { class: "timeline", "aria-labelledby": "timeline-title" },
      h("div", { class: "timeline-head" }, h("h2", { id: "timeline-title" }, "Timeline"), this.chooser, this.said),
      this.control,
      h("div", { class: "timeline-key" }),
    );
    this.chooser.addEventListener("change", () => this.draw());
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.stage);
    this.scheme.addEventListener("change", this.onScheme);
    window.addEventListener("beforeprint", () => this.print(true), { signal: this.ended.signal });
    window.addEventListener("afterprint", () => this.print(false), { signal: this.ended.signal });
  }

  dispose(): void {
    this.ended.abort();
    this.watcher.disconnect();
    this.scheme.removeEventListener("change", this.onScheme);
    this.plot?.destroy();
  }

  show(looks: Look[], points: TimelinePoint[]): void {
    this.looks = looks;
    this.points = points;
    this.control.setAttribute("aria-valuemax", String(Math.max(0, looks.length - 1)));
    replace(
      this.chooser,
      this.metrics().map((metric, index) => h("option", { value: String(index) }, label(metric))),
    );
    this.chooser.hidden = this.metrics().length === 0;
    this.mark(this.marked);
    replace(this.key(), this.keyEntries());
    this.draw();
    this.tell();
  }

  /** Mark which looks the map shows: the main one and, where two are compared, the other. */
  choose(first: string | null, second: string | null): void {
    const index = (scene: string | null): number => this.looks.findIndex((look) => look.properties.scene_id === scene);
    this.chosen = index(first);
    this.partner = index(second);
    this.tell();
    this.plot?.redraw(false, false);
  }

  setEvents(events: Span[]): void {
    this.events = events;
    this.draw();
  }

  /** An open change stands on the curve of its own class, or its onset would lie beside a curve of something else. */
  mark(change: Change | null): void {
    this.marked = change;
    const own = change ? this.metrics().findIndex((metric) => metric.kind === change.properties.change_type) : -1;
    if (own >= 0 && this.metric()?.kind !== change?.properties.change_type) {
      this.chooser.value = String(own);
      this.draw();
      this.tell();
    } else this.plot?.redraw(false, false);
  }

  private key(): HTMLElement {
    return this.element.lastElementChild as HTMLElement;
  }

  private keyEntries(): HTMLElement[] {
    const found = new Set<string>();
    for (const look of this.looks) {
      for (const [name, share] of Object.entries(look.properties.fractions ?? {})) {
        if (name !== "observed" && share > 0.005) found.add(name);
      }
      if (!look.properties.used) found.add(known(mainReason(look.properties)));
    }
    const entries = [...found].sort().map((name) =>
      h("span", { class: "legend-entry" }, swatch(name), ` not seen: ${reason(name)}`),
    );
    if (!this.looks.length) return [];
    return [
      h("span", { class: "legend-entry" }, h("i", { class: "swatch seen" }), " share of the site seen"),
      this.looks.some((look) => look.properties.used && !whole(look)) ? h("span", { class: "legend-entry" }, "○ counted in part of the site only") : h("span", { hidden: true }),
      ...entries,
    ];
  }

  private metrics(): Metric[] {
    const kinds = [...new Set(this.points.map((point) => point.class))];
    return kinds.flatMap((kind): Metric[] => {
      const mine = this.points.filter((point) => point.class === kind);
      const made: Metric[] = [];
      if (mine.some((point) => point.count !== null && point.count !== undefined)) made.push({ kind, measure: "count" });
      if (mine.some((point) => typeof point.area_m2 === "number")) made.push({ kind, measure: "area" });
      return made;
    });
  }

  private metric(): Metric | null {
    return this.metrics()[Number(this.chooser.value) || 0] ?? null;
  }

  private valueAt(scene: string): [number | null, number | null, number | null] {
    const metric = this.metric();
    const point = this.points.find((p) => p.scene_id === scene && p.class === metric?.kind);
    if (!metric || !point || point.state !== "observed") return [null, null, null];
    return metric.measure === "count"
      ? [point.count ?? null, point.count_low ?? null, point.count_high ?? null]
      : [point.area_m2 ?? null, point.area_m2_low ?? null, point.area_m2_high ?? null];
  }

  /** A look that saw only part of the site counts only that part: it stands beside the curve, not on it. */
  private data(): uPlot.AlignedData {
    const values = this.looks.map((look) => (whole(look) ? this.valueAt(look.properties.scene_id) : [null, null, null]));
    return [
      this.looks.map((look) => Date.parse(look.properties.datetime) / 1000),
      values.map((value) => value[2] ?? null),
      values.map((value) => value[0] ?? null),
      values.map((value) => value[1] ?? null),
    ];
  }

  private draw(): void {
    this.plot?.destroy();
    this.plot = null;
    this.stage.replaceChildren();
    this.element.classList.toggle("bare", !this.looks.length);
    if (!this.looks.length) {
      append(this.stage, [h("p", { class: "quiet" }, "No scene of the archive has been looked at yet.")]);
      return;
    }
    if (this.width() < 40) return;
    this.plot = new uPlot(this.options(), this.data(), this.stage);
    this.plot.over.addEventListener("click", (event) => this.onClick(event));
    this.plot.over.addEventListener("mouseleave", () => {
      this.hovered = -1;
      this.tell();
    });
  }

  private resize(): void {
    const width = this.width();
    if (!this.plot) this.draw();
    else if (Math.abs(this.plot.width - width) > 1) this.plot.setSize({ width, height: this.height() });
  }

  /** Paper is narrower than most screens, and always light: a curve cut off at its edge would hide the latest looks. */
  private print(on: boolean): void {
    this.printing = on;
    replace(this.key(), this.keyEntries());
    this.draw();
  }

  private width(): number {
    return this.printing ? PRINT_PX : this.stage.clientWidth;
  }

  private height(): number {
    return matchMedia("(max-width: 700px)").matches ? 190 : 178;
  }

  private options(): uPlot.Options {
    const look = getComputedStyle(document.documentElement);
    const ink = (name: string): string => look.getPropertyValue(name).trim();
    const tone = `var(--${this.metric()?.kind ?? "other"})`;
    const line = ink(tone.slice(4, -1)) || colour(this.metric()?.kind ?? "");
    const axis = { stroke: ink("--soft"), grid: { stroke: ink("--faint"), width: 1 }, ticks: { stroke: ink("--rule"), width: 1 }, font: "12px system-ui, sans-serif" };
    const times = this.looks.map((l) => Date.parse(l.properties.datetime) / 1000);
    const margin = Math.max(86_400 * 3, ((times.at(-1) ?? 0) - (times[0] ?? 0)) * 0.03);
    return {
      width: this.width(),
      height: this.height(),
      legend: { show: false },
      padding: [this.events.length ? EVENT_PX + 4 : 8, 12, 0, 0],
      cursor: { y: false, drag: { x: true, y: false, dist: 8 }, points: { show: false }, focus: { prox: -1 } },
      scales: {
        x: { time: true, range: (_u, min, max) => times.length === 1 ? [(times[0] ?? 0) - ALONE_S, (times[0] ?? 0) + ALONE_S] : (min === times[0] && max === times.at(-1) ? [min - margin, max + margin] : [min, max]) },
        y: { range: () => [0, this.highest() * 1.1] },
      },
      axes: [
        { ...axis, size: 30 + LANE_PX, gap: LANE_PX + 4, values: (_u, splits, _a, _s, step) => splits.map((t) => tick(t, step)) },
        {
          ...axis,
          size: (_u, values) => Math.max(46, 18 + 7 * Math.max(0, ...(values ?? []).map((text) => text.length))),
          splits: (_u, _a, min, max) => niceSplits(min, max),
          values: (_u, splits) => (this.metric() ? splits.map((value) => grouped(value)) : splits.map(() => "")),
        },
      ],
      series: [
        {},
        { stroke: "transparent", points: { show: false } },
        { stroke: line, width: 2, spanGaps: false, points: { show: true, size: 6, fill: line } },
        { stroke: "transparent", points: { show: false } },
      ],
      bands: [{ series: [1, 3], fill: `${hex(line)}33` }],
      hooks: {
        drawClear: [(u) => this.drawBack(u, ink)],
        draw: [(u) => this.drawFront(u, ink)],
        setCursor: [(u) => this.onCursor(u)],
      },
    };
  }

  private drawBack(u: uPlot, ink: (name: string) => string): void {
    const { ctx } = u;
    const { left, top, width, height } = u.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, 0, width, top + height);
    ctx.clip();
    if (this.marked) this.drawOnset(u, this.marked, ink);
    for (const event of this.events) this.drawEvent(u, event, ink);
    ctx.fillStyle = ink("--event");
    this.nameEvents(u);
    ctx.restore();
  }

  /** Between its two dashed edges the open change came or went; nothing tells on which day. */
  private drawOnset(u: uPlot, change: Change, ink: (name: string) => string): void {
    const { ctx } = u;
    const { top, height } = u.bbox;
    const ratio = devicePixelRatio;
    const x0 = u.valToPos(Date.parse(change.properties.last_absent) / 1000, "x", true);
    const x1 = Math.max(x0 + 2 * ratio, u.valToPos(Date.parse(change.properties.first_seen) / 1000, "x", true));
    ctx.fillStyle = ink("--onset");
    ctx.fillRect(x0, top, x1 - x0, height);
    ctx.strokeStyle = ink("--onset-edge");
    ctx.lineWidth = 1.5 * ratio;
    ctx.setLineDash([5 * ratio, 3 * ratio]);
    ctx.beginPath();
    for (const x of [x0, x1]) {
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
    }
    ctx.stroke();
    ctx.setLineDash([]);
  }

  /** Over the grid and the curve, on a ground of its own: a line through the words would strike them out. */
  private nameOnset(u: uPlot, change: Change, ink: (name: string) => string): void {
    const { ctx } = u;
    const ratio = devicePixelRatio;
    const x0 = u.valToPos(Date.parse(change.properties.last_absent) / 1000, "x", true);
    const x1 = u.valToPos(Date.parse(change.properties.first_seen) / 1000, "x", true);
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.textBaseline = "top";
    const text = `${change.properties.direction} in here`;
    const inside = ctx.measureText(text).width + 20 * ratio < x1 - x0;
    const right = !inside && x0 > u.bbox.left + u.bbox.width * 0.75;
    ctx.textAlign = right ? "right" : "left";
    const [x, y] = [inside || right ? x0 + (right ? -10 : 10) * ratio : x1 + 10 * ratio, u.bbox.top + 2 * ratio];
    ctx.strokeStyle = ink("--paper");
    ctx.lineWidth = 4 * ratio;
    ctx.lineJoin = "round";
    ctx.strokeText(text, x, y);
    ctx.fillStyle = ink("--onset-edge");
    ctx.fillText(text, x, y);
  }

  private drawEvent(u: uPlot, event: Span, ink: (name: string) => string): void {
    const { ctx } = u;
    const ratio = devicePixelRatio;
    const x0 = u.valToPos(Date.parse(event.start) / 1000, "x", true);
    const x1 = u.valToPos(Date.parse(event.end) / 1000, "x", true);
    const wide = Math.max(3 * ratio, x1 - x0);
    const [from, to] = event.tested.map((text) => u.valToPos(Date.parse(text) / 1000, "x", true)) as [number, number];
    ctx.fillStyle = ink("--event-soft");
    ctx.fillRect(from, u.bbox.top, Math.max(2, to - from), u.bbox.height);
    ctx.fillStyle = ink("--event");
    ctx.fillRect(x0, 0, wide, u.bbox.top);
    ctx.fillRect(from, u.bbox.top - 2 * ratio, Math.max(2, to - from), 2 * ratio);
  }

  /** The names of events in one line, each cut where the next begins; the list below has them whole. */
  private nameEvents(u: uPlot): void {
    const { ctx } = u;
    const gap = 3 * devicePixelRatio;
    const at = (text: string): number => u.valToPos(Date.parse(text) / 1000, "x", true);
    const all = this.events.map((event) => ({ label: event.label, from: at(event.start), to: Math.max(at(event.start) + gap, at(event.end)) }));
    // What lies outside the plot is not named in it, and leaves its neighbours no room out there.
    const marks = all.filter((mark) => mark.to > u.bbox.left && mark.from < u.bbox.left + u.bbox.width);
    marks.sort((one, two) => one.from - two.from);
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textBaseline = "top";
    let taken = u.bbox.left;
    marks.forEach((mark, index) => {
      const until = marks[index + 1]?.from ?? u.bbox.left + u.bbox.width;
      const before = mark.from - gap - taken;
      const after = until - 2 * gap - mark.to;
      const left = before > after && ctx.measureText(mark.label).width > after;
      const text = shortened(ctx, mark.label, left ? before : after);
      ctx.textAlign = left ? "right" : "left";
      ctx.fillText(text, left ? mark.from - gap : mark.to + gap, gap);
      taken = left ? mark.to : mark.to + 2 * gap + ctx.measureText(text).width;
    });
  }

  private drawFront(u: uPlot, ink: (name: string) => string): void {
    const { ctx } = u;
    const ratio = devicePixelRatio;
    const { left, top, width, height } = u.bbox;
    const base = top + height + 4 * ratio;
    const tall = LANE_PX * ratio - 4 * ratio;
    const bar = Math.max(2, Math.min(9, (width / ratio / this.looks.length) * 0.7)) * ratio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left - bar, top, width + 2 * bar, height + LANE_PX * ratio + 6 * ratio);
    ctx.clip();
    if (!this.metric()) this.drawNothing(u, ink);
    if (this.marked) this.nameOnset(u, this.marked, ink);
    this.looks.forEach((look, index) => {
      const x = u.valToPos(Date.parse(look.properties.datetime) / 1000, "x", true);
      this.drawWhisker(u, look, x, ink);
      drawBar(ctx, look, x - bar / 2, base, bar, tall, ink);
      if (index === this.chosen || index === this.partner) {
        ctx.strokeStyle = ink("--focus");
        ctx.lineWidth = 2 * ratio;
        ctx.setLineDash(index === this.partner ? [4 * ratio, 3 * ratio] : []);
        ctx.strokeRect(x - bar / 2 - 2 * ratio, top, bar + 4 * ratio, base + tall - top + ratio);
        ctx.setLineDash([]);
      }
    });
    ctx.restore();
  }

  /** An empty plot reads like zero: say that nothing was counted, and why. */
  private drawNothing(u: uPlot, ink: (name: string) => string): void {
    const { left, top, width, height } = u.bbox;
    u.ctx.fillStyle = ink("--soft");
    u.ctx.font = `${13 * devicePixelRatio}px system-ui, sans-serif`;
    u.ctx.textAlign = "center";
    u.ctx.textBaseline = "middle";
    const seen = this.looks.some((look) => look.properties.used);
    u.ctx.fillText(seen ? "Nothing was counted here" : "Nothing could be counted: no look showed the site", left + width / 2, top + height / 2);
  }

  /** A lone value between gaps has no band: its interval is a whisker. */
  private drawWhisker(u: uPlot, look: Look, x: number, ink: (name: string) => string): void {
    const [value, low, high] = this.valueAt(look.properties.scene_id);
    if (value === null || low === null || high === null) return;
    u.ctx.strokeStyle = ink("--soft");
    u.ctx.globalAlpha = 0.55;
    u.ctx.lineWidth = devicePixelRatio;
    u.ctx.beginPath();
    u.ctx.moveTo(x, u.valToPos(low, "y", true));
    u.ctx.lineTo(x, u.valToPos(high, "y", true));
    u.ctx.stroke();
    u.ctx.globalAlpha = 1;
    if (whole(look)) return;
    u.ctx.fillStyle = ink("--paper");
    u.ctx.beginPath();
    u.ctx.arc(x, u.valToPos(value, "y", true), 3.5 * devicePixelRatio, 0, 2 * Math.PI);
    u.ctx.fill();
    u.ctx.stroke();
  }

  private highest(): number {
    const highs = this.looks.map((look) => this.valueAt(look.properties.scene_id)[2] ?? this.valueAt(look.properties.scene_id)[0] ?? 0);
    return Math.max(1, ...highs);
  }

  private nearest(u: uPlot, left: number): number {
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    this.looks.forEach((look, index) => {
      const far = Math.abs(u.valToPos(Date.parse(look.properties.datetime) / 1000, "x") - left);
      if (far < least) {
        least = far;
        best = index;
      }
    });
    return best;
  }

  private onCursor(u: uPlot): void {
    const left = u.cursor.left ?? -1;
    const found = left < 0 ? -1 : this.nearest(u, left);
    if (found === this.hovered) return;
    this.hovered = found;
    this.tell();
  }

  private onClick(event: MouseEvent): void {
    if (!this.plot || this.plot.select.width > 0) return;
    const look = this.looks[this.nearest(this.plot, event.offsetX)];
    if (look) this.onChoose(look, event.shiftKey);
  }

  private onKey(event: KeyboardEvent): void {
    const last = this.looks.length - 1;
    const from = this.chosen;
    const to = { ArrowLeft: from - 1, ArrowDown: from - 1, ArrowRight: from + 1, ArrowUp: from + 1, Home: 0, End: last }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    const look = this.looks[Math.min(last, Math.max(0, to))];
    if (look) this.onChoose(look, event.shiftKey);
  }

  private tell(): void {
    const index = this.hovered >= 0 ? this.hovered : this.chosen;
    const look = this.looks[index];
    replace(this.said, look ? this.describe(look) : this.looks.length ? "Click a date to see its look; shift-click for a second one." : "");
    const chosen = this.looks[this.chosen];
    this.control.setAttribute("aria-valuenow", String(Math.max(0, this.chosen)));
    this.control.setAttribute("aria-valuetext", chosen ? this.describe(chosen) : "none");
  }

  private describe(look: Look): string {
    const metric = this.metric();
    const [value, low, high] = this.valueAt(look.properties.scene_id);
    const parts = [date(look.properties.datetime), visibility(look)];
    if (metric && value !== null) {
      const range = low !== null && high !== null ? ` (${metres(low)}–${metres(high)})` : "";
      const where = whole(look) ? "standing" : `in the ${percent(look.properties.usable_fraction)} that was seen`;
      parts.push(
        metric.measure === "count"
          ? `${where}: ${Math.round(value)}${low !== null && high !== null ? ` (${Math.floor(low)}–${Math.ceil(high)})` : ""} ${className(metric.kind, true).toLowerCase()}`
          : `${where}: ${area(value)}${range} ${className(metric.kind, true).toLowerCase()}`,
      );
    }
    const point = this.points.find((p) => p.scene_id === look.properties.scene_id && p.class === metric?.kind);
    if (point?.appeared) parts.push(`${plural(point.appeared, "change")} appeared by then`);
    if (point?.removed) parts.push(`${plural(point.removed, "change")} removed by then`);
    return parts.join(" · ");
  }
}

function shortened(ctx: CanvasRenderingContext2D, text: string, width: number): string {
  if (ctx.measureText(text).width <= width) return text;
  for (let length = text.length - 1; length > 3; length -= 1) {
    const cut = `${text.slice(0, length)}…`;
    if (ctx.measureText(cut).width <= width) return cut;
  }
  return "";
}

function label(metric: Metric): string {
  const name = className(metric.kind, true);
  return metric.measure === "count" ? `${name} standing, number` : `${name} standing, m²`;
}

function whole(look: Look): boolean {
  return look.properties.used && look.properties.usable_fraction >= WHOLE;
}

function known(label: string | null): string {
  return label && label in HATCH ? label : "misregistered";
}

function drawBar(
  ctx: CanvasRenderingContext2D, look: Look, x: number, y: number, wide: number, tall: number, ink: (name: string) => string,
): void {
  const p = look.properties;
  ctx.fillStyle = ink("--lane");
  ctx.fillRect(x, y, wide, tall);
  const seen = p.used ? p.usable_fraction : 0;
  ctx.fillStyle = ink("--seen");
  ctx.fillRect(x, y + tall * (1 - seen), wide, tall * seen);
  const lost = Object.entries(p.fractions ?? {}).filter(([name, share]) => name !== "observed" && share > 0);
  const total = lost.reduce((sum, [, share]) => sum + share, 0);
  if (!lost.length && seen < 1) lost.push([known(mainReason(p)), 1]);
  let top = y;
  for (const [name, share] of lost) {
    const part = tall * (1 - seen) * (total > 0 ? share / total : 1);
    hatch(ctx, x, top, wide, part, name, ink);
    top += part;
  }
}

function hatch(
  ctx: CanvasRenderingContext2D, x: number, y: number, wide: number, tall: number, name: string, ink: (name: string) => string,
): void {
  if (tall <= 0) return;
  const [angle, gap] = HATCH[name] ?? [0, 3];
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(x, y, wide, tall);
  ctx.clip();
  ctx.fillStyle = ink(`--r-${name}`) || ink("--r-nodata");
  ctx.fillRect(x, y, wide, tall);
  ctx.strokeStyle = ink("--hatch");
  ctx.lineWidth = ratio;
  ctx.translate(x + wide / 2, y + tall / 2);
  ctx.rotate((angle * Math.PI) / 180);
  const reach = wide + tall;
  ctx.beginPath();
  for (let at = -reach; at <= reach; at += gap * ratio) {
    ctx.moveTo(-reach, at);
    ctx.lineTo(reach, at);
  }
  ctx.stroke();
  ctx.restore();
}

/** The same hatching as a small element of a legend. */
export function swatch(name: string): HTMLElement {
  const size = Math.round(14 * devicePixelRatio);
  const canvas = h("canvas", { width: String(size), height: String(size), class: "swatch", "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const look = getComputedStyle(document.documentElement);
  if (context) hatch(context, 0, 0, size, size, name, (key) => look.getPropertyValue(key).trim());
  return canvas;
}

function hex(text: string): string {
  const short = /^#([0-9a-f])([0-9a-f])([0-9a-f])$/i.exec(text);
  if (short) return `#${short.slice(1).map((digit) => digit + digit).join("")}`;
  return /^#[0-9a-f]{6}$/i.test(text) ? text : "#666666";
}

function tick(seconds: number, step: number): string {
  const text = shortDate(seconds * 1000);
  const [, month = "", year = ""] = text.split(" ");
  return step >= 86_400 * 300 ? year : step >= 86_400 * 25 ? `${month} ${year.slice(2)}` : text.replace(/ \d+$/, "");
}

function niceSplits(min: number, max: number): number[] {
  const rough = (max - min) / 3;
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough) ?? rough;
  const splits: number[] = [];
  for (let value = 0; value <= max; value += step) splits.push(value);
  return splits;
}

export function looksTable(looks: readonly Look[]): HTMLElement {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Looks as a table" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ["Date", "Sensor", "Pixel", "Seen", "Not seen because", "Lined up to"].map((name) => h("th", { scope: "col" }, name)))),
      h(
        "tbody",
        {},
        looks.map((look) => {
          const p = look.properties;
          const why = Object.entries(p.fractions ?? {}).filter(([name, share]) => name !== "observed" && share >= 0.005);
          const words = why.map(([name, share]) => `${reason(name)} ${percent(share)}`).join(", ");
          return h(
            "tr",
            {},
            h("th", { scope: "row" }, shortDate(p.datetime), p.reference ? h("span", { class: "quiet" }, " (reference)") : null),
            h("td", {}, p.platform ?? "not stated"),
            h("td", {}, p.gsd ? `${p.gsd} m` : "not stated"),
            h("td", {}, p.used ? percent(p.usable_fraction) : h("b", {}, "not observable")),
            h("td", {}, words || (p.used ? "" : reason(mainReason(p)))),
            h("td", {}, typeof p.residual_m === "number" ? `${p.residual_m.toFixed(2)} m` : "–"),
          );
        }),
      ),
    ),
  );
}
