/** Longitudes lie on a circle: what is near its two ends is near each other. */

import type { Geometry, Position } from "./geojson";

/** West and east end, in degrees, of the shortest arc that holds all longitudes; its middle lies in -180..180, so an end may lie beyond. */
export function shortestArc(longitudes: readonly number[]): [number, number] {
  const sorted = [...longitudes].sort((one, two) => one - two);
  const [first = 0] = sorted;
  let [west, width] = [first, (sorted.at(-1) ?? first) - first];
  for (let index = 1; index < sorted.length; index += 1) {
    const [before = 0, here = 0] = [sorted[index - 1], sorted[index]];
    // The arc that begins here leaves out the gap before.
    if (360 - (here - before) < width) [west, width] = [here, 360 - (here - before)];
  }
  if (west + width / 2 > 180) west -= 360;
  return [west, west + width];
}

/** The same shape with all its parts on one arc: a site that is cut at the antimeridian is drawn, and looked at, in one piece. */
export function inOnePiece(shape: Geometry): Geometry {
  if (shape.type !== "MultiPolygon") return shape;
  const [west] = shortestArc(shape.coordinates.flat(2).map(([longitude = 0]) => longitude));
  const move = ([longitude = 0, ...rest]: Position): Position => [longitude + 360 * Math.ceil((west - longitude) / 360 - 1e-9), ...rest];
  return { ...shape, coordinates: shape.coordinates.map((polygon) => polygon.map((ring) => ring.map(move))) };
}
