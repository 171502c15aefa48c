/** Which two looks may be compared by eye: the score of imagery/comparability.py, from what a look tells of itself. */

import type { Look, LookProperties } from "./types";

const FULL_LEAN = Math.tan(radians(30));
const UNKNOWN_LEAN = Math.tan(radians(10));
const MAX_SHADOW_LENGTHS = 4;
const MIN_SUN_ELEVATION_DEG = 5;
const LOWEST_PART = 0.7;
/** Less of the site than this is no picture to compare. */
const LEAST_SEEN = 0.02;

export interface Comparability {
  score: number;
  reasons: string[];
}

function radians(degrees: number): number {
  return (degrees * Math.PI) / 180;
}

function away(length: number, azimuth: number): [number, number] {
  return [length * Math.sin(radians(azimuth)), length * Math.cos(radians(azimuth))];
}

function lean(look: LookProperties): [number, number] | null {
  if (look.off_nadir_deg == null) return null;
  return away(Math.tan(radians(look.off_nadir_deg)), (look.view_azimuth_deg ?? 0) + 180);
}

function shadow(look: LookProperties): [number, number] | null {
  if (look.sun_elevation_deg == null || look.sun_azimuth_deg == null) return null;
  const elevation = Math.max(look.sun_elevation_deg, MIN_SUN_ELEVATION_DEG);
  return away(1 / Math.tan(radians(elevation)), look.sun_azimuth_deg + 180);
}

function apart(one: [number, number] | null, two: [number, number] | null, otherwise: number): number {
  return one && two ? Math.hypot(one[0] - two[0], one[1] - two[1]) : otherwise;
}

export function clear(look: Look): boolean {
  return look.properties.used && look.properties.usable_fraction >= LEAST_SEEN;
}

export function compare(first: Look, second: Look): Comparability {
  const [a, b] = [first.properties, second.properties];
  const ratio = a.gsd && b.gsd ? Math.max(a.gsd, b.gsd) / Math.min(a.gsd, b.gsd) : 1;
  const parts: [string, number][] = [
    ["seen from another side", 1 - Math.min(apart(lean(a), lean(b), UNKNOWN_LEAN) / FULL_LEAN, 1) * 0.8],
    ["the sun stood elsewhere", 1 - Math.min(apart(shadow(a), shadow(b), 0) / MAX_SHADOW_LENGTHS, 1) * 0.8],
    ["another sharpness", Math.min(1, 1.5 / ratio)],
  ];
  const reasons = parts.filter(([, part]) => part < LOWEST_PART).map(([name]) => name);
  const score = parts.reduce((product, [, part]) => product * part, 1);
  return { score: score * Math.min(a.usable_fraction, b.usable_fraction), reasons };
}

/** The clear looks that go with one, the best first, and those that go less well, with why. */
export function partners(look: Look, looks: readonly Look[]): { good: Look[]; poor: [Look, string[]][] } {
  const others = looks
    .filter((other) => other !== look && clear(other))
    .map((other) => [other, compare(look, other)] as const)
    .sort((one, two) => two[1].score - one[1].score);
  return {
    good: others.filter(([, found]) => !found.reasons.length).map(([other]) => other),
    poor: others.filter(([, found]) => found.reasons.length).map(([other, found]) => [other, found.reasons]),
  };
}
