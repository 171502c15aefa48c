/** What the service answers, as far as the page reads it; more members may come. */

import type { Geometry, Polygon, MultiPolygon } from "./geojson";

export type Direction = "appeared" | "removed";

export interface Link {
  rel: string;
  href: string;
  type?: string;
}

export interface SiteProperties {
  name: string;
  area_m2: number;
  utm_epsg: number;
  created: string;
  updated: string;
  geometry_version: number;
  reports: number;
  current_report: string | null;
}

export interface Site {
  id: string;
  bbox: [number, number, number, number];
  geometry: Polygon | MultiPolygon;
  properties: SiteProperties;
  links: Link[];
  standing_warnings?: { code: string; detail: string; since: string }[];
  coverage?: Coverage;
  warnings?: string[];
  job?: string | null;
}

export interface Coverage {
  scenes: number;
  first: string | null;
  last: string | null;
  finest_gsd_m: number | null;
  scenes_per_month: number | null;
  median_gap_days: number | null;
}

export interface ChangeProperties {
  id: string;
  change_type: string;
  direction: Direction;
  first_seen: string;
  last_absent: string;
  last_seen: string;
  status: string;
  confidence: number;
  count: number | null;
  count_low: number | null;
  count_high: number | null;
  count_reason: string | null;
  area_m2: number | null;
  area_m2_low: number | null;
  area_m2_high: number | null;
  length_m: number | null;
  width_m: number | null;
  orientation_deg: number | null;
  gsd: number | null;
  looks_supporting: number;
  looks_against: number;
  shift_sensitivity: number | null;
  evidence: string | null;
  evidence_log_odds?: Record<string, number | null>;
  against?: string[];
  before_scene?: string;
  after_scene?: string;
  scene_ids?: string[];
  platforms?: string[];
  licences?: string[];
  statement?: string;
}

export interface Change {
  id: string;
  geometry: Geometry | null;
  properties: ChangeProperties;
}

export interface Review {
  verdict: "confirmed" | "rejected" | "relabelled";
  class: string | null;
  note: string;
  by: string;
  at: string;
  report: string;
}

export interface ChangeDetail extends Change {
  site: string;
  report: string;
  current: boolean;
  review: Review | null;
}

export interface LookProperties {
  scene_id: string;
  datetime: string;
  platform?: string | null;
  gsd?: number | null;
  used: boolean;
  reference: boolean;
  usable_fraction: number;
  fractions?: Record<string, number>;
  displacement?: { east_m: number; north_m: number } | null;
  state?: string | null;
  residual_m?: number | null;
  chips_allowed?: boolean;
  licence?: string | null;
  sun_azimuth_deg?: number | null;
  sun_elevation_deg?: number | null;
  view_azimuth_deg?: number | null;
  off_nadir_deg?: number | null;
  notes?: string[];
}

export interface Look {
  id?: string;
  geometry: Geometry | null;
  properties: LookProperties;
}

export interface TimelinePoint {
  datetime: string;
  scene_id: string;
  class: string;
  state: "observed" | "not_observable";
  reason: string | null;
  usable_fraction: number | null;
  count: number | null;
  count_low?: number | null;
  count_high?: number | null;
  area_m2?: number | null;
  area_m2_low?: number | null;
  area_m2_high?: number | null;
  appeared?: number | null;
  removed?: number | null;
}

export interface Interval {
  value: number;
  low: number;
  high: number;
}

export interface Tally {
  change_type: string;
  direction: Direction;
  changes: number;
  expected_true?: Interval;
  count?: Interval | null;
  count_reason?: string | null;
  area_m2?: Interval | null;
}

export interface Report {
  id: string;
  number: number;
  site_id: string;
  verdict?: "changes_found" | "no_change_found" | "nothing_to_compare" | "not_observable";
  headline?: string;
  compared?: { gsd: number; comparable_fraction: number | null }[];
  summary: Tally[];
  period: { start: string; end: string } | string | null;
  processing_version: string;
  parameters?: Record<string, string>;
  versions?: Record<string, string>;
  warnings: string[];
  detection_limits?: { change_type: string; statement: string; observable: boolean }[];
  limits_in_words?: string[];
  site?: { grid?: { crs: string } };
}

export interface ReportHead {
  id: string;
  number: number;
  created: string;
  processing_version: string;
  job: string | null;
}

export interface Job {
  id: string;
  type: string;
  state: "accepted" | "running" | "successful" | "failed" | "dismissed";
  reason: string;
  progress: number;
  units: { total: number; done: number; failed: number; skipped: number; cached: number };
  step: string | null;
  period: string | null;
  parameters: Record<string, unknown>;
  created: string;
  started: string | null;
  finished: string | null;
  /** When the reports of a reprocess were made the current ones. */
  promoted?: string | null;
}

export interface FeedEntry {
  event: "new" | "updated" | "retracted" | "superseded";
  time: string;
  site: string;
  report: string;
  change: string | null;
  feature: unknown;
  cursor: string;
}
