/** Signs of class and direction: class is colour and letter, direction is shape. Never colour alone. */

import { className } from "./words";
import { h, svg } from "./dom";
import type { Direction } from "./types";

/** The same as in the printed report; apart for colour-blind readers as well, as tests/service/test_page_colours.py measures. */
export const COLOURS: Record<string, string> = { container: "#d55e00", berm: "#0072b2", other: "#661a5e" };
export const FALLBACK = "#666666";
const LETTERS: Record<string, string> = { container: "C", berm: "B", other: "?" };

export function colour(kind: string): string {
  return COLOURS[kind] ?? FALLBACK;
}

export function letter(kind: string): string {
  return LETTERS[kind] ?? kind.charAt(0).toUpperCase();
}

/** Corners of the triangle about 0, 0: up and filled for appeared, down and hollow for removed. */
export function triangle(direction: Direction, size: number): [number, number][] {
  const way = direction === "appeared" ? -1 : 1;
  return [
    [0, way * size],
    [-size, -way * size * 0.7],
    [size, -way * size * 0.7],
  ];
}

export function symbol(kind: string, direction: Direction): SVGElement {
  const points = triangle(direction, 9)
    .map(([x, y]) => `${x},${y}`)
    .join(" ");
  return svg(
    "svg",
    { class: `symbol k-${kind in COLOURS ? kind : "unknown"} ${direction}`, viewBox: "-12 -12 24 24", "aria-hidden": "true" },
    svg("polygon", { points }),
  );
}

/** Symbol with its words, for legends. */
export function legendEntry(kind: string, direction: Direction): HTMLElement {
  return h("span", { class: "legend-entry" }, symbol(kind, direction), ` ${className(kind)}, ${direction}`);
}
