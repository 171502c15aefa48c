/** The map of one site, in the site's own UTM zone: pictures pixel by pixel, changes by class and direction. */

import Feature, { type FeatureLike } from "ol/Feature";
import OlMap from "ol/Map";
import View from "ol/View";
import type MapBrowserEvent from "ol/MapBrowserEvent";
import { ScaleLine, Zoom } from "ol/control";
import { createEmpty, getCenter, getHeight, getWidth, type Extent } from "ol/extent";
import GeoJSON from "ol/format/GeoJSON";
import type Geometry from "ol/geom/Geometry";
import Point from "ol/geom/Point";
import type BaseLayer from "ol/layer/Base";
import Layer from "ol/layer/Layer";
import VectorLayer from "ol/layer/Vector";
import { get as projection, type Projection } from "ol/proj";
import type RenderEvent from "ol/render/Event";
import { getRenderPixel } from "ol/render";
import VectorSource from "ol/source/Vector";
import { Fill, RegularShape, Stroke, Style } from "ol/style";
import "ol/ol.css";

import { h } from "./dom";
import { MarksLayer, type Mark } from "./marks";
import { colour } from "./symbols";
import type { Change, Direction, Site } from "./types";
import { interactions } from "./wheel";

/** Below this size on screen a change is only its triangle. */
const SMALLEST_OUTLINE_PX = 14;
const FLICKER_MS = 900;

export type Mode = "one" | "swipe" | "flicker";

export class SiteMap {
  readonly map: OlMap;
  readonly projection: Projection;
  private readonly format: GeoJSON;
  private readonly changes = new VectorSource<Feature<Geometry>>({ useSpatialIndex: true });
  private readonly selected = new VectorSource<Feature<Geometry>>();
  private readonly marks = new MarksLayer();
  private readonly styles = new Map<string, Style[]>();
  private readonly aoi: Extent;
  private readonly divider: HTMLInputElement;
  private lower: BaseLayer | null = null;
  private upper: BaseLayer | null = null;
  private flicker = 0;
  private at = 0.5;
  private settled = false;
  private touched = false;
  private readonly ended = new AbortController();

  constructor(target: HTMLElement, site: Site, onPick: (id: string) => void) {
    const found = projection(`EPSG:${site.properties.utm_epsg}`);
    if (!found) throw new Error(`EPSG:${site.properties.utm_epsg} is no UTM zone`);
    this.projection = found;
    this.format = new GeoJSON({ dataProjection: "EPSG:4326", featureProjection: found });
    const aoi = this.format.readFeature({ type: "Feature", geometry: site.geometry, properties: {} }) as Feature<Geometry>;
    this.aoi = aoi.getGeometry()?.getExtent() ?? createEmpty();
    this.map = new OlMap({
      target,
      interactions: interactions(),
      controls: [new Zoom({ zoomInTipLabel: "Zoom in", zoomOutTipLabel: "Zoom out" }), new ScaleLine()],
      layers: [this.aoiLayer(aoi), this.changeLayer(), this.marks, this.selectedLayer()],
      view: new View({ projection: found, center: getCenter(this.aoi), resolution: 2, minResolution: 0.02, maxResolution: 500 }),
    });
    this.divider = this.makeDivider(target);
    this.map.on("click", (event) => this.pick(event, onPick));
    this.map.on("pointermove", (event) => this.point(event, target));
    this.map.on("change:size", () => this.settle());
    this.map.on("loadstart", () => target.classList.add("loading-tiles"));
    this.map.on("loadend", () => target.classList.remove("loading-tiles"));
    for (const kind of ["wheel", "pointerdown", "keydown"]) target.addEventListener(kind, () => (this.touched = true), { passive: true });
    this.settle();
    for (const moment of ["beforeprint", "afterprint"]) window.addEventListener(moment, () => this.fitPaper(), { signal: this.ended.signal });
  }

  /** Paper has another width than the screen, and is printed at once: there is no later frame to draw in. */
  private fitPaper(): void {
    this.map.updateSize();
    this.map.renderSync();
  }

  /** While the page takes its shape and nobody has moved the map, show the whole site, or the change asked for. */
  private settle(): void {
    const [width = 0, height = 0] = this.map.getSize() ?? [];
    if (this.touched || width < 10 || height < 10) return;
    this.settled = true;
    const waiting = this.selected.getFeatures()[0]?.getGeometry();
    this.showAll();
    if (waiting) this.moveTo(waiting.getExtent());
  }

  dispose(): void {
    this.ended.abort();
    window.clearInterval(this.flicker);
    this.map.setTarget(undefined);
    this.map.dispose();
  }

  showAll(): void {
    this.map.getView().fit(this.aoi, { padding: [42, 16, 16, 16] });
  }

  setChanges(changes: readonly Change[]): void {
    const features = changes.map((change) => this.feature(change)).filter((feature) => feature !== null);
    this.shown = new Set(features);
    this.changes.addFeatures(features.filter((feature) => !this.changes.hasFeature(feature)));
    this.changes.changed();
    this.marks.show(features.map((feature) => feature.get("mark") as Mark));
  }

  /** What the filters leave: the others stay in the source, which is dear to fill, and are passed over. */
  private shown: ReadonlySet<FeatureLike> = new Set();
  private readonly made = new Map<string, Feature<Geometry>>();

  /** The feature of a change, made once. */
  private feature(change: Change): Feature<Geometry> | null {
    if (!change.geometry) return null;
    const known = this.made.get(change.id);
    if (known) return known;
    const made = this.format.readFeature({ type: "Feature", geometry: change.geometry, properties: {} }) as Feature<Geometry>;
    made.setId(change.id);
    made.set("kind", change.properties.change_type, true);
    made.set("direction", change.properties.direction, true);
    const extent = made.getGeometry()?.getExtent() ?? createEmpty();
    const [x = 0, y = 0] = getCenter(extent);
    made.set("middle", new Point([x, y]), true);
    made.set("mark", { x, y, picture: pictureOf(change.properties.change_type, change.properties.direction) } satisfies Mark, true);
    made.set("size", Math.max(getWidth(extent), getHeight(extent)), true);
    this.made.set(change.id, made);
    return made;
  }

  select(change: Change | null, move: boolean): void {
    this.selected.clear(true);
    if (!change) return;
    const feature = this.feature(change);
    const geometry = feature?.getGeometry();
    if (!feature || !geometry) return;
    const marked = feature.clone();
    marked.set("middle", feature.get("middle"), true);
    marked.setId(change.id);
    this.selected.addFeature(marked);
    if (move && this.settled) this.moveTo(geometry.getExtent());
  }

  private moveTo(extent: Extent): void {
    const view = this.map.getView();
    const size = Math.max(getWidth(extent), getHeight(extent), 20);
    const shown = this.map.getSize() ?? [600, 400];
    const resolution = Math.min(view.getResolution() ?? 1, (size * 4) / Math.min(shown[0] ?? 600, shown[1] ?? 400));
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    view.cancelAnimations();
    if (still) {
      view.setCenter(getCenter(extent));
      view.setResolution(resolution);
    } else view.animate({ center: getCenter(extent), resolution, duration: 260 });
  }

  /** Show one picture, or two of which the second lies above. Layers of nothing leave the ground blank. */
  setPictures(lower: BaseLayer | null, upper: BaseLayer | null, mode: Mode): void {
    window.clearInterval(this.flicker);
    const layers = this.map.getLayers();
    for (const old of [this.lower, this.upper]) {
      if (old && old !== lower && old !== upper) layers.remove(old);
    }
    this.lower = lower;
    this.upper = mode === "one" ? null : upper;
    for (const [index, layer] of [this.lower, this.upper].entries()) {
      if (!layer) continue;
      layer.setVisible(true);
      layers.remove(layer);
      layers.insertAt(index === 0 || !this.lower ? 0 : 1, layer);
    }
    if (mode === "one" && upper && upper !== lower) layers.remove(upper);
    this.divider.hidden = mode !== "swipe" || !this.upper;
    this.divider.parentElement?.classList.toggle("swiping", !this.divider.hidden);
    if (this.upper) this.clip(this.upper, mode === "swipe");
    if (this.lower) this.clip(this.lower, false);
    if (mode === "flicker" && this.upper) {
      const top = this.upper;
      this.flicker = window.setInterval(() => {
        top.setVisible(!top.getVisible());
        this.onFlicker(top.getVisible());
      }, FLICKER_MS);
    }
    this.map.render();
  }

  /** Called with whether the upper of two flickering pictures is shown. */
  onFlicker: (upper: boolean) => void = () => undefined;

  private readonly clipped = new WeakMap<BaseLayer, boolean>();
  private readonly hooked = new WeakSet<BaseLayer>();

  private clip(layer: BaseLayer, on: boolean): void {
    this.clipped.set(layer, on);
    if (this.hooked.has(layer) || !(layer instanceof Layer)) return;
    this.hooked.add(layer);
    layer.on("prerender", (event: RenderEvent) => {
      if (!(event.context instanceof CanvasRenderingContext2D)) return;
      event.context.save();
      if (!this.clipped.get(layer)) return;
      const [width = 0, height = 0] = this.map.getSize() ?? [];
      const x = width * this.at;
      const corner = (px: number, py: number): [number, number] => getRenderPixel(event, [px, py]) as [number, number];
      const context = event.context;
      context.beginPath();
      context.moveTo(...corner(x, 0));
      context.lineTo(...corner(width, 0));
      context.lineTo(...corner(width, height));
      context.lineTo(...corner(x, height));
      context.closePath();
      context.clip();
    });
    layer.on("postrender", (event: RenderEvent) => {
      if (event.context instanceof CanvasRenderingContext2D) event.context.restore();
    });
  }

  private makeDivider(target: HTMLElement): HTMLInputElement {
    const range = h("input", {
      type: "range", min: "0", max: "100", value: "50", step: "0.5", class: "map-divider", hidden: true,
      "aria-label": "Divider between the earlier picture on the left and the later on the right",
    });
    range.addEventListener("input", () => {
      this.at = Number(range.value) / 100;
      target.style.setProperty("--at", `${range.value}%`);
      this.map.render();
    });
    target.style.setProperty("--at", "50%");
    target.append(h("span", { class: "map-divider-line", "aria-hidden": "true" }), range);
    return range;
  }

  /** The change whose middle lies nearest to a place, within a finger's width; by index, so 5,000 cost no more than 5. */
  private near(pixel: number[], reach: number): Feature<Geometry> | null {
    const place = this.map.getCoordinateFromPixel(pixel);
    const step = (this.map.getView().getResolution() ?? 1) * reach;
    if (!place) return null;
    const [x = 0, y = 0] = place;
    let best: Feature<Geometry> | null = null;
    let least = Number.POSITIVE_INFINITY;
    this.changes.forEachFeatureInExtent([x - step, y - step, x + step, y + step], (feature) => {
      if (!this.shown.has(feature)) return;
      const [mx = 0, my = 0] = (feature.get("middle") as Point).getCoordinates();
      const geometry = feature.getGeometry();
      const inside = geometry?.intersectsCoordinate(place) ?? false;
      const far = Math.hypot(mx - x, my - y);
      if ((inside || far <= step) && far < least) {
        best = feature;
        least = far;
      }
    });
    return best;
  }

  private pick(event: MapBrowserEvent, onPick: (id: string) => void): void {
    const id = this.near(event.pixel, 14)?.getId();
    if (typeof id === "string") onPick(id);
  }

  private point(event: MapBrowserEvent, target: HTMLElement): void {
    if (!event.dragging) target.classList.toggle("over-change", this.near(event.pixel, 9) !== null);
  }

  private aoiLayer(aoi: Feature<Geometry>): VectorLayer {
    return new VectorLayer({
      source: new VectorSource({ features: [aoi] }),
      style: [
        new Style({ stroke: new Stroke({ color: "rgba(0,0,0,0.55)", width: 4 }) }),
        new Style({ stroke: new Stroke({ color: "#fff", width: 2, lineDash: [10, 6] }) }),
      ],
    });
  }

  private changeLayer(): VectorLayer {
    return new VectorLayer({
      source: this.changes,
      renderBuffer: 40,
      style: (feature, resolution) => {
        if ((feature.get("size") as number) / resolution < SMALLEST_OUTLINE_PX || !this.shown.has(feature)) return [];
        return this.styleOf(feature.get("kind") as string, feature.get("direction") as Direction, false);
      },
    });
  }

  private selectedLayer(): VectorLayer {
    return new VectorLayer({
      source: this.selected,
      zIndex: 10,
      style: (feature) => this.styleOf(feature.get("kind") as string, feature.get("direction") as Direction, true),
    });
  }

  private styleOf(kind: string, direction: Direction, chosen: boolean): Style[] {
    const name = `${kind}|${direction}|${chosen}`;
    let styles = this.styles.get(name);
    if (!styles) {
      styles = makeStyles(kind, direction, chosen);
      this.styles.set(name, styles);
    }
    return styles;
  }
}

const pictures = new Map<string, (ratio: number) => HTMLCanvasElement>();

/** The sign of a class and direction, drawn once per pixel ratio. */
function pictureOf(kind: string, direction: Direction): (ratio: number) => HTMLCanvasElement {
  const name = `${kind}|${direction}`;
  let picture = pictures.get(name);
  if (!picture) {
    const shape = triangle(kind, direction, 7);
    const drawn = new Map<number, HTMLCanvasElement>();
    picture = (ratio) => {
      let canvas = drawn.get(ratio);
      if (!canvas) {
        canvas = shape.getImage(ratio) as HTMLCanvasElement;
        drawn.set(ratio, canvas);
      }
      return canvas;
    };
    pictures.set(name, picture);
  }
  return picture;
}

function triangle(kind: string, direction: Direction, radius: number): RegularShape {
  const removed = direction === "removed";
  const ink = colour(kind);
  return new RegularShape({
    points: 3,
    radius,
    angle: removed ? Math.PI : 0,
    fill: new Fill({ color: removed ? "#fff" : ink }),
    stroke: new Stroke({ color: removed ? ink : "#fff", width: removed ? 2.6 : 1.6 }),
  });
}

function makeStyles(kind: string, direction: Direction, chosen: boolean): Style[] {
  const ink = colour(kind);
  const removed = direction === "removed";
  const marker = new Style({ geometry: (feature) => feature.get("middle") as Point, image: triangle(kind, direction, 10) });
  const ring = new Style({
    geometry: (feature) => feature.get("middle") as Point,
    image: new RegularShape({ points: 32, radius: 17, stroke: new Stroke({ color: "#ffe14d", width: 3 }) }),
  });
  const dash = removed ? { lineDash: [6, 4] } : {};
  const casing = new Style({
    stroke: new Stroke({ color: chosen ? "#111" : "rgba(255,255,255,0.75)", width: chosen ? 5 : 3.6 }),
  });
  const line = new Style({
    stroke: new Stroke({ color: chosen ? "#ffe14d" : ink, width: chosen ? 2.6 : 1.8, ...dash }),
    fill: new Fill({ color: removed || chosen ? "rgba(0,0,0,0)" : `${ink}24` }),
  });
  return chosen ? [casing, line, ring, marker] : [casing, line];
}
