/** A new site: drawn, dropped or typed in; judged by the service while it is made. */

import Feature from "ol/Feature";
import { getCenter } from "ol/extent";
import GeoJSON from "ol/format/GeoJSON";
import type Geometry from "ol/geom/Geometry";
import Point from "ol/geom/Point";
import { Draw, Modify, Snap } from "ol/interaction";
import VectorLayer from "ol/layer/Vector";
import { fromLonLat } from "ol/proj";
import { HALF_SIZE } from "ol/proj/epsg3857";
import VectorSource from "ol/source/Vector";
import { Circle, Fill, RegularShape, Stroke, Style } from "ol/style";

import { ApiError, get, request, type Fault } from "./api";
import { inOnePiece } from "./arcs";
import { announce, append, h, later, replace } from "./dom";
import type { Geometry as Shape, Position } from "./geojson";
import { go, type Page } from "./places";
import type { Coverage, Site } from "./types";
import { area, plural, sentence, shortDate } from "./words";
import { WorldMap } from "./worldmap";

const JUDGE_MS = 350;

const GEOJSON = "application/geo+json";
const TYPES: Record<string, string> = {
  geojson: GEOJSON,
  json: GEOJSON,
  kml: "application/vnd.google-earth.kml+xml",
  csv: "text/csv",
};

/** What is to be sent: a drawing with a name, or a file as it came. */
interface Draft {
  type: string;
  body: string;
  /** The GeoJSON in it, to show where a fault lies; null for KML and CSV, which the service turns into GeoJSON. */
  document: { type?: string; features?: { geometry?: Shape | null }[]; geometry?: Shape | null } | null;
}

interface Forecast {
  geometry: Shape;
  properties: { name: string; name_taken: boolean; area_m2: number; utm_epsg: number };
  coverage: Coverage;
  warnings: string[];
}

export async function openAdd(root: HTMLElement, signal: AbortSignal): Promise<Page> {
  const { features } = await get<{ features: Site[] }>("/sites?limit=1000", signal);
  return new AddPage(root, features);
}

class AddPage implements Page {
  readonly title = "Add a site";
  private readonly world: WorldMap;
  private readonly drawn = new VectorSource<Feature<Geometry>>();
  private readonly faults = new VectorSource<Feature<Point>>();
  private readonly shown = new VectorSource<Feature<Geometry>>();
  private readonly format = new GeoJSON({ dataProjection: "EPSG:4326", featureProjection: "EPSG:3857" });
  private readonly draw: Draw;
  private readonly name = h("input", { name: "name", maxlength: "200", autocomplete: "off", required: true });
  private readonly verdict = h("div", { class: "verdict-box", role: "status", "aria-live": "polite" });
  private readonly submit = h("button", { type: "submit", class: "primary", disabled: true }, "Add and analyse");
  private readonly drop = h("div", { class: "drop" });
  private readonly latitude = h("input", { inputmode: "decimal", placeholder: "50.0989", "aria-label": "Latitude" });
  private readonly longitude = h("input", { inputmode: "decimal", placeholder: "15.3017", "aria-label": "Longitude" });
  private readonly radius = h("input", { inputmode: "decimal", value: "400", "aria-label": "Radius in metres" });
  private file: { type: string; body: string; stem: string } | null = null;
  private circle = false;
  private asked = 0;

  constructor(root: HTMLElement, sites: readonly Site[]) {
    const mapBox = h("div", { class: "map world", tabindex: "0", role: "application", "aria-label": "Map to draw on; a circle or a file do the same without it" });
    append(root, [
      h(
        "div",
        { class: "overview add" },
        h("section", { class: "panel", "aria-labelledby": "add-title" }, h("h1", { id: "add-title", tabindex: "-1" }, "Add a site"), this.form()),
        h("section", { class: "stage", "aria-label": "Map" }, h("div", { class: "map-box" }, mapBox)),
      ),
    ]);
    this.world = new WorldMap(mapBox);
    this.world.setSites(sites, new Map());
    if (sites.length) this.world.fitSites();
    this.addLayers();
    this.draw = new Draw({ source: this.drawn, type: "Polygon", stopClick: true });
    this.draw.on("drawstart", () => this.clear());
    const change = later(JUDGE_MS, () => void this.judge());
    this.drawn.on(["addfeature", "changefeature"], change);
    this.world.map.addInteraction(new Modify({ source: this.drawn }));
    this.world.map.addInteraction(this.draw);
    this.world.map.addInteraction(new Snap({ source: this.drawn }));
    this.name.addEventListener("input", change);
    for (const input of [this.latitude, this.longitude, this.radius]) {
      input.addEventListener("input", () => {
        this.circle = this.latitude.value !== "" && this.longitude.value !== "";
        if (this.circle) this.clearDrawing();
        change();
      });
    }
    this.dropping(root);
  }

  dispose(): void {
    this.world.dispose();
  }

  private form(): HTMLElement {
    const picker = h("input", {
      type: "file", accept: ".geojson,.json,.kml,.csv", id: "aoi-file", class: "unseen-text",
      onchange: (event: Event) => {
        const [file] = (event.target as HTMLInputElement).files ?? [];
        if (file) void this.take(file);
      },
    });
    append(this.drop, [h("p", {}, h("b", {}, "Draw"), " the outline on the map, click by click, the first point again to close it."), h("p", {}, h("b", {}, "Or drop a file"), " anywhere here: GeoJSON, KML, or CSV with name, longitude, latitude, radius_m. ", picker, h("label", { for: "aoi-file", class: "button" }, "Choose a file"))]);
    const fields = h(
      "form",
      {
        onsubmit: (event: Event) => {
          event.preventDefault();
          void this.send();
        },
      },
      this.drop,
      h("fieldset", { class: "circle" }, h("legend", {}, "Or a circle"), h("label", { class: "field" }, h("span", {}, "Latitude"), this.latitude), h("label", { class: "field" }, h("span", {}, "Longitude"), this.longitude), h("label", { class: "field" }, h("span", {}, "Radius, m"), this.radius)),
      h("label", { class: "field" }, h("span", {}, "Name"), this.name),
      this.verdict,
      h("p", { class: "tools" }, this.submit, h("button", { type: "button", onclick: () => this.startOver() }, "Start over")),
    );
    replace(this.verdict, h("p", { class: "quiet" }, "What the archives will show of the place is told here as soon as there is an outline."));
    return fields;
  }

  private addLayers(): void {
    const outline = new Style({ stroke: new Stroke({ color: "#d55e00", width: 2.5 }), fill: new Fill({ color: "rgba(213,94,0,0.15)" }), image: new Circle({ radius: 5, fill: new Fill({ color: "#d55e00" }) }) });
    const cross = new RegularShape({ points: 4, radius: 12, radius2: 0, angle: Math.PI / 4, stroke: new Stroke({ color: "#a3271b", width: 4 }) });
    this.world.map.addLayer(new VectorLayer({ source: this.shown, style: outline, zIndex: 6 }));
    this.world.map.addLayer(new VectorLayer({ source: this.drawn, style: outline, zIndex: 7 }));
    this.world.map.addLayer(new VectorLayer({ source: this.faults, style: [new Style({ image: new Circle({ radius: 14, stroke: new Stroke({ color: "#fff", width: 6 }) }) }), new Style({ image: new Circle({ radius: 14, stroke: new Stroke({ color: "#a3271b", width: 3 }) }) }), new Style({ image: cross })], zIndex: 8 }));
  }

  private dropping(root: HTMLElement): void {
    root.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.drop.classList.add("over");
    });
    root.addEventListener("dragleave", () => this.drop.classList.remove("over"));
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      this.drop.classList.remove("over");
      const [file] = event.dataTransfer?.files ?? [];
      if (file) void this.take(file);
    });
  }

  private clearDrawing(): void {
    this.drawn.clear(true);
    this.file = null;
  }

  private clear(): void {
    this.clearDrawing();
    this.circle = false;
    this.latitude.value = "";
    this.longitude.value = "";
    this.faults.clear();
    this.shown.clear();
  }

  private startOver(): void {
    this.draw.abortDrawing();
    this.clear();
    this.name.value = "";
    this.name.disabled = false;
    this.unnamed(null);
    this.submit.disabled = true;
    replace(this.verdict);
  }

  private async take(file: File): Promise<void> {
    const kind = TYPES[file.name.split(".").pop()?.toLowerCase() ?? ""];
    if (!kind) {
      replace(this.verdict, h("p", { class: "fault" }, `${file.name} is none of GeoJSON, KML and CSV.`));
      return;
    }
    this.clear();
    const body = await file.text();
    this.file = { type: kind, body, stem: file.name.replace(/\.[^.]+$/, "") };
    await this.judge(true);
  }

  /** What would be sent now; null where there is nothing yet. */
  private draft(name: string): Draft | null {
    const { file } = this;
    if (file?.type === GEOJSON) return named(file.body, this.name.value.trim(), file.stem);
    if (file) return { ...file, document: null };
    if (this.circle) {
      const numbers = [this.longitude, this.latitude, this.radius].map((input) => `"${input.value.replace(",", ".").trim()}"`);
      return { type: "text/csv", body: `name,longitude,latitude,radius_m\n"${name.replaceAll('"', '""')}",${numbers.join(",")}\n`, document: null };
    }
    const [feature] = this.drawn.getFeatures();
    const geometry = feature?.getGeometry()?.clone();
    if (!geometry) return null;
    // The map goes on beyond the antimeridian; what was drawn wholly there is meant here.
    const [middle = 0] = getCenter(geometry.getExtent());
    geometry.translate(-2 * HALF_SIZE * Math.round(middle / (2 * HALF_SIZE)), 0);
    const document = { type: "Feature", properties: { name }, geometry: JSON.parse(this.format.writeGeometry(geometry, { decimals: 7 })) as Shape };
    return { type: GEOJSON, body: JSON.stringify(document), document };
  }

  private async judge(move = this.circle): Promise<void> {
    const draft = this.draft(this.name.value.trim() || "not named yet");
    if (!draft) return;
    this.asked += 1;
    const turn = this.asked;
    try {
      const response = await request("/sites/forecast", { method: "POST", body: draft.body, headers: { "Content-Type": draft.type } });
      const { features } = (await response.json()) as { features: Forecast[] };
      if (turn === this.asked) this.approve(features, move);
    } catch (error) {
      if (turn === this.asked && error instanceof ApiError) this.refuse(error, draft, move);
    }
  }

  private approve(found: Forecast[], move: boolean): void {
    this.faults.clear();
    this.shown.clear();
    if (this.file || this.circle) {
      for (const one of found) this.display(one.geometry);
      if (move) this.look();
    }
    const { file } = this;
    const taken = found.filter((one) => one.properties.name_taken);
    const named = file !== null || this.name.value.trim() !== "";
    this.name.disabled = file !== null && (file.type !== GEOJSON || found.length > 1);
    this.unnamed(file === null ? null : found);
    this.submit.disabled = taken.length > 0 || !named;
    replace(
      this.verdict,
      found.length > 1 && h("p", {}, h("b", {}, plural(found.length, "site")), " in this file"),
      found.slice(0, 20).map((one) => forecastBox(one)),
      found.length > 20 && h("p", { class: "quiet" }, `and ${found.length - 20} more`),
      !named && h("p", { class: "quiet" }, "Give it a name to add it."),
    );
  }

  /** A file names its sites itself: nobody need type a name again, and the browser must not ask for one. */
  private unnamed(inFile: Forecast[] | null): void {
    this.name.required = inFile === null;
    this.name.placeholder = inFile?.length === 1 ? (inFile[0]?.properties.name ?? "") : "";
  }

  private display(shape: Shape): void {
    this.shown.addFeature(new Feature<Geometry>({ geometry: this.format.readGeometry(inOnePiece(shape)) as Geometry }));
  }

  private look(): void {
    const extent = this.shown.getExtent();
    if (extent) this.world.map.getView().fit(extent, { padding: [80, 80, 80, 80], maxZoom: 17 });
  }

  private refuse(error: ApiError, draft: Draft, move: boolean): void {
    this.submit.disabled = true;
    this.faults.clear();
    const faults = error.errors.length ? error.errors : [{ pointer: "", code: error.code, detail: error.message }];
    if (draft.document && this.file) this.outline(draft.document);
    const places = faults.map((fault) => vertexAt(draft.document, fault.pointer)).filter((place) => place !== null);
    this.faults.addFeatures(places.map((place) => new Feature(new Point(fromLonLat(place)))));
    if (move && places[0] && !this.file) this.world.map.getView().setCenter(fromLonLat(places[0]));
    replace(this.verdict, h("div", { class: "notice error" }, h("h2", {}, faults.length > 1 ? `${faults.length} faults` : "Not usable yet"), h("ul", { class: "faults" }, faults.map((fault) => this.faultLine(fault, draft)))));
    announce(`Not usable: ${faults[0]?.detail ?? ""}`);
  }

  private faultLine(fault: Fault, draft: Draft): HTMLElement {
    const place = vertexAt(draft.document, fault.pointer);
    return h(
      "li",
      {},
      sentence(fault.detail),
      fault.pointer && h("code", { class: "quiet" }, ` ${fault.pointer} `),
      place && h("button", { type: "button", class: "link", onclick: () => this.world.map.getView().setCenter(fromLonLat(place)) }, "show"),
    );
  }

  /** A refused file is drawn as it is, so that the fault can be seen in it. */
  private outline(document: Draft["document"]): void {
    this.shown.clear();
    const shapes = document?.features?.map((feature) => feature.geometry) ?? [document?.geometry];
    for (const shape of shapes) {
      try {
        if (shape) this.display(shape);
      } catch {
        continue; // What cannot be drawn is told in words.
      }
    }
    const extent = this.shown.getExtent();
    if (extent?.every(Number.isFinite)) this.look();
  }

  private async send(): Promise<void> {
    const draft = this.draft(this.name.value.trim());
    if (!draft) return;
    this.submit.disabled = true;
    try {
      const response = await request("/sites", { method: "POST", body: draft.body, headers: { "Content-Type": draft.type, "Idempotency-Key": crypto.randomUUID() } });
      const made = (await response.json()) as { id?: string; features?: unknown[]; job?: string | null };
      announce("Added");
      go(made.id ? `/sites/${made.id}` : made.job ? `/jobs/${made.job}` : "/");
    } catch (error) {
      if (error instanceof ApiError) this.refuse(error, draft, false);
    }
  }
}

/** A single site takes the name typed, else its own, else its file's; of several, those without one are numbered. */
function named(body: string, typed: string, stem: string): Draft {
  type Properties = { name?: string } | null;
  try {
    let document = JSON.parse(body) as { type?: string; properties?: Properties; features?: { properties?: Properties }[]; geometry?: unknown };
    if (document.type === "Polygon" || document.type === "MultiPolygon") document = { type: "Feature", geometry: document };
    const features = document.features ?? [document];
    features.forEach((feature, index) => {
      const own = features.length === 1 && typed ? typed : feature.properties?.name;
      feature.properties = { ...feature.properties, name: own ?? (features.length === 1 ? stem : `${stem} ${index + 1}`) };
    });
    return { type: GEOJSON, body: JSON.stringify(document), document: document as Draft["document"] };
  } catch {
    return { type: GEOJSON, body, document: null }; // The service says what is wrong with it.
  }
}

/** The position a JSON pointer leads to: a vertex, or the first of a ring or polygon. */
export function vertexAt(document: unknown, pointer: string): Position | null {
  if (!document || !pointer) return null;
  let here: unknown = document;
  let last: Position | null = null;
  for (const step of pointer.split("/").slice(1)) {
    if (here === null || typeof here !== "object") break;
    here = (here as Record<string, unknown>)[step.replaceAll("~1", "/").replaceAll("~0", "~")];
    if (isPosition(here)) last = here;
  }
  if (last) return last;
  if (here && typeof here === "object" && "coordinates" in here) here = (here as { coordinates: unknown }).coordinates;
  while (Array.isArray(here) && Array.isArray((here as unknown[])[0])) here = (here as unknown[])[0];
  return isPosition(here) ? here : null;
}

function isPosition(value: unknown): value is Position {
  return Array.isArray(value) && value.length >= 2 && value.every((part) => typeof part === "number" && Math.abs(part) <= 360);
}

/** A forecast is no measurement: as many digits as it deserves. */
function rounded(value: number): string {
  return value >= 10 ? String(Math.round(value)) : String(Math.round(value * 10) / 10 || value);
}

function forecastBox(one: Forecast): HTMLElement {
  const { coverage, properties } = one;
  const said = coverage.scenes
    ? [
        `${plural(coverage.scenes, "scene")} cover it`,
        coverage.first && coverage.last ? `${shortDate(coverage.first)} – ${shortDate(coverage.last)}` : "",
        coverage.finest_gsd_m ? `finest pixels ${coverage.finest_gsd_m} m` : "",
        coverage.scenes_per_month ? `about ${rounded(coverage.scenes_per_month)} a month` : "",
        coverage.median_gap_days ? `usually ${rounded(coverage.median_gap_days)} days apart` : "",
      ].filter(Boolean).join(" · ")
    : "No scene covers it";
  return h(
    "div",
    { class: `notice ${coverage.scenes > 1 ? "calm" : "blind"}` },
    h("b", {}, properties.name),
    h("p", {}, `${area(properties.area_m2)}, EPSG:${properties.utm_epsg}`),
    h("p", {}, said),
    properties.name_taken && h("p", { class: "fault" }, "There is a site of this name already."),
    one.warnings.map((warning) => h("p", {}, sentence(warning))),
  );
}
