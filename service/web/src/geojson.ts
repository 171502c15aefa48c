/** The part of RFC 7946 that occurs here. */

export type Position = number[];
export interface Polygon {
  type: "Polygon";
  coordinates: Position[][];
}
export interface MultiPolygon {
  type: "MultiPolygon";
  coordinates: Position[][][];
}
export interface Point {
  type: "Point";
  coordinates: Position;
}
export interface LineString {
  type: "LineString";
  coordinates: Position[];
}
export interface GeometryCollection {
  type: "GeometryCollection";
  geometries: Geometry[];
}
export type Geometry = Polygon | MultiPolygon | Point | LineString | GeometryCollection;
