/** A small world without tiles: land, graticule, sites as points. Everything on it is in the page itself. */

import Feature from "ol/Feature";
import OlMap from "ol/Map";
import View from "ol/View";
import { ScaleLine, Zoom } from "ol/control";
import { boundingExtent, type Extent } from "ol/extent";
import Point from "ol/geom/Point";
import Polygon from "ol/geom/Polygon";
import { fromLonLat, toLonLat, transformExtent } from "ol/proj";
import Graticule from "ol/layer/Graticule";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";
import { Circle, Fill, Stroke, Style, Text } from "ol/style";
import "ol/ol.css";

import { shortestArc } from "./arcs";
import { interactions } from "./wheel";
import type { Site } from "./types";

const WORLD = transformExtent([-170, -58, 170, 75], "EPSG:4326", "EPSG:3857");

/** Closer than this the coast is out of sight, and a map without it says nothing. */
const CLOSEST_FIT = 6;

export interface WorldOptions {
  onPick?: (id: string) => void;
}

export class WorldMap {
  readonly map: OlMap;
  private readonly sites = new VectorSource<Feature<Point>>();
  private readonly land = new VectorSource<Feature<Polygon>>();
  private fresh: ReadonlyMap<string, number> = new Map();
  private unseen: ReadonlySet<string> = new Set();
  private hovered: string | null = null;
  private readonly scheme = matchMedia("(prefers-color-scheme: dark)");
  private readonly repaint = (): void => this.map.getLayers().forEach((layer) => layer.changed());

  constructor(target: HTMLElement, options: WorldOptions = {}) {
    const tone = (name: string): string => getComputedStyle(target).getPropertyValue(name).trim();
    const siteLayer = new VectorLayer({ source: this.sites, zIndex: 5, style: (feature) => this.siteStyle(String(feature.getId()), tone) });
    this.map = new OlMap({
      target,
      interactions: interactions(),
      controls: [new Zoom({ zoomInTipLabel: "Zoom in", zoomOutTipLabel: "Zoom out" }), new ScaleLine()],
      layers: [
        new VectorLayer({
          source: this.land,
          style: () => new Style({ fill: new Fill({ color: tone("--land") }), stroke: new Stroke({ color: tone("--coast"), width: 0.8 }) }),
        }),
        new Graticule({
          strokeStyle: new Stroke({ color: "rgba(128,140,150,0.35)", width: 0.8 }),
          showLabels: true,
          targetSize: 160,
          wrapX: false,
          latLabelStyle: label(tone("--soft"), "end"),
          latLabelPosition: 0.985,
          lonLabelStyle: label(tone("--soft"), "center"),
        }),
        siteLayer,
      ],
      view: new View({ center: fromLonLat([10, 30]), zoom: 1, extent: fullExtent(), constrainOnlyCenter: true, maxZoom: 22 }),
    });
    this.scheme.addEventListener("change", this.repaint);
    void import("./land.json").then((found) => this.addLand(found.default));
    this.map.getView().fit(WORLD);
    if (options.onPick) {
      const pick = options.onPick;
      this.map.on("click", (event) => {
        const id = this.map.forEachFeatureAtPixel(event.pixel, (feature) => feature.getId(), { hitTolerance: 6, layerFilter: (layer) => layer === siteLayer });
        if (typeof id === "string") pick(id);
      });
      this.map.on("pointermove", (event) => {
        if (event.dragging) return;
        const hit = this.map.hasFeatureAtPixel(event.pixel, { hitTolerance: 4, layerFilter: (layer) => layer === siteLayer });
        target.classList.toggle("over-change", hit);
      });
    }
  }

  dispose(): void {
    this.scheme.removeEventListener("change", this.repaint);
    this.map.setTarget(undefined);
    this.map.dispose();
  }

  setSites(sites: readonly Site[], fresh: ReadonlyMap<string, number>): void {
    this.fresh = fresh;
    this.sites.clear(true);
    this.sites.addFeatures(
      sites.map((site) => {
        const feature = new Feature(new Point(fromLonLat(centreOf(site.bbox))));
        feature.setId(site.id);
        return feature;
      }),
    );
  }

  setFresh(fresh: ReadonlyMap<string, number>): void {
    this.fresh = fresh;
    this.sites.changed();
  }

  /** Sites of which nothing can be said. */
  setUnseen(unseen: ReadonlySet<string>): void {
    this.unseen = unseen;
    this.sites.changed();
  }

  hover(id: string | null): void {
    this.hovered = id;
    this.sites.changed();
  }

  fitSites(): void {
    const places = this.sites.getFeatures().map((feature) => toLonLat(feature.getGeometry()?.getCoordinates() ?? [0, 0]));
    if (!places.length) return;
    const [west, east] = shortestArc(places.map(([longitude = 0]) => longitude));
    const latitudes = places.map(([, latitude = 0]) => latitude);
    const corners = [fromLonLat([west, Math.min(...latitudes)]), fromLonLat([east, Math.max(...latitudes)])];
    this.map.getView().fit(boundingExtent(corners), { padding: [50, 50, 50, 50], maxZoom: CLOSEST_FIT });
  }

  private addLand(rings: number[][]): void {
    this.land.addFeatures(
      rings.map((flat) => {
        const ring: [number, number][] = [];
        for (let index = 0; index < flat.length; index += 2) ring.push([flat[index] ?? 0, flat[index + 1] ?? 0]);
        return new Feature(new Polygon([ring.map((place) => fromLonLat(place))]));
      }),
    );
  }

  private readonly styles = new Map<string, Style>();

  private siteStyle(id: string, tone: (name: string) => string): Style {
    const news = (this.fresh.get(id) ?? 0) > 0;
    const large = id === this.hovered;
    const blind = this.unseen.has(id);
    const name = `${news}|${blind}|${large}|${this.scheme.matches}`;
    let style = this.styles.get(name);
    if (!style) {
      style = new Style({
        zIndex: large ? 3 : news ? 2 : 1,
        image: new Circle({
          radius: large ? 9 : news ? 6.5 : blind ? 6 : 4.5,
          fill: new Fill({ color: news ? tone("--news") : blind ? tone("--blind") : tone("--paper") }),
          stroke: new Stroke({ color: news ? tone("--paper") : blind ? tone("--blind-edge") : tone("--ink"), width: 2, ...(blind && !news ? { lineDash: [3, 3] } : {}) }),
        }),
      });
      this.styles.set(name, style);
    }
    return style;
  }
}

function fullExtent(): Extent {
  return transformExtent([-200, -84, 200, 84], "EPSG:4326", "EPSG:3857");
}

function label(color: string, align: "end" | "center"): Text {
  return new Text({
    font: "11px system-ui, sans-serif",
    fill: new Fill({ color: color || "#777" }),
    textAlign: align,
    textBaseline: "bottom",
  });
}

/** Middle of a box in degrees; a box across the antimeridian has its west edge east of its east edge (RFC 7946, 5.2). */
function centreOf([west, south, east, north]: readonly [number, number, number, number]): [number, number] {
  const middle = (west + (east < west ? east + 360 : east)) / 2;
  return [middle > 180 ? middle - 360 : middle, (south + north) / 2];
}
