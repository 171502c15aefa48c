/** Pictures for the map: registered looks as tiles in the site's UTM zone; a change's own chips where there are none. */

import type ImageTile from "ol/ImageTile";
import TileState from "ol/TileState";
import type BaseLayer from "ol/layer/Base";
import ImageLayer from "ol/layer/Image";
import TileLayer from "ol/layer/Tile";
import type { Projection } from "ol/proj";
import Static from "ol/source/ImageStatic";
import TileImage from "ol/source/TileImage";
import TileGrid from "ol/tilegrid/TileGrid";

import { ApiError, get, picture } from "./api";
import type { Look } from "./types";

interface Provenance {
  window: { west: number; south: number; east: number; north: number };
}

/** One level of an OGC tile matrix set. */
interface TileMatrix {
  id: string;
  cellSize: number;
  pointOfOrigin: [number, number];
  tileWidth: number;
  tileHeight: number;
  matrixWidth: number;
  matrixHeight: number;
}

interface SiteTiles {
  report?: string | null;
  tileMatrixSet: { tileMatrices: TileMatrix[] };
  bbox: [number, number, number, number] | null;
  scenes: { scene_id: string }[];
  withheld?: { scene_id: string; detail?: string }[];
}

/** Looks whose layers are kept: going through a timeline comes back to the same few. */
const KEPT_LAYERS = 12;

/** Before and after of one change, laid where they were cut. */
export async function chipLayers(change: string, projection: Projection): Promise<[BaseLayer, BaseLayer]> {
  const here = `/changes/${change}`;
  const { window: box } = await get<Provenance>(`${here}/provenance`);
  const [before, after] = await Promise.all([picture(`${here}/before.png`), picture(`${here}/after.png`)]);
  const made = [before, after].map(
    (url) =>
      new ImageLayer({
        className: "pixels",
        source: new Static({ url, imageExtent: [box.west, box.south, box.east, box.north], projection, interpolate: false }),
      }),
  );
  return made as unknown as [BaseLayer, BaseLayer];
}

/** The layers of a site's looks, made when first asked for. */
export class LookLayers {
  /** Whether the service has tiles of this site. */
  there = false;
  private grid: TileGrid | null = null;
  private version = "";
  private scenes = new Set<string>();
  private withheld = new Set<string>();
  private readonly kept = new Map<string, TileLayer>();

  constructor(
    private readonly site: { id: string },
    private readonly projection: Projection,
  ) {}

  async load(signal: AbortSignal): Promise<void> {
    try {
      const found = await get<SiteTiles>(`/sites/${this.site.id}/tiles`, signal);
      this.scenes = new Set(found.scenes.map((scene) => scene.scene_id));
      this.withheld = new Set((found.withheld ?? []).map((scene) => scene.scene_id));
      this.grid = gridOf(found);
      // Tiles of a named report never change, so that the browser may keep them.
      this.version = found.report ? `?report=${encodeURIComponent(found.report)}` : "";
      this.there = this.grid !== null && this.scenes.size > 0;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status === 401) throw error;
      this.there = false; // A site without tiles still has its changes, and their own pictures.
    }
  }

  /** The layer of a look; null where the service has no picture of it. */
  of(look: Look): BaseLayer | null {
    const scene = look.properties.scene_id;
    if (!this.grid || !this.scenes.has(scene)) return null;
    const layer = this.kept.get(scene) ?? this.make(scene, this.grid);
    this.kept.delete(scene);
    this.kept.set(scene, layer);
    const [oldest] = this.kept.keys();
    if (this.kept.size > KEPT_LAYERS && oldest !== undefined) this.kept.delete(oldest);
    return layer;
  }

  /** Why there is no picture of a look. */
  why(look: Look): string {
    return this.withheld.has(look.properties.scene_id) ? "picture withheld by its licence" : "no picture of it at hand";
  }

  private make(scene: string, grid: TileGrid): TileLayer {
    const here = `/sites/${this.site.id}/tiles/${encodeURIComponent(scene)}`;
    return new TileLayer({
      className: "pixels",
      preload: 1,
      source: new TileImage({
        projection: this.projection,
        tileGrid: grid,
        interpolate: false,
        transition: 0,
        tileUrlFunction: ([z, x, y]) => `${here}/${z}/${x}/${y}.png${this.version}`,
        tileLoadFunction: (tile, source) => void loadTile(tile as ImageTile, source),
      }),
    });
  }

  chips(change: string): Promise<[BaseLayer, BaseLayer]> {
    return chipLayers(change, this.projection);
  }
}

function gridOf(found: SiteTiles): TileGrid | null {
  const levels = found.tileMatrixSet.tileMatrices;
  if (!levels.length || !found.bbox) return null;
  return new TileGrid({
    extent: found.bbox,
    origins: levels.map((level) => level.pointOfOrigin),
    resolutions: levels.map((level) => level.cellSize),
    sizes: levels.map((level) => [level.matrixWidth, level.matrixHeight]),
    tileSizes: levels.map((level) => [level.tileWidth, level.tileHeight]),
  });
}

/** Tiles need the key, so they come through the same door as every other picture. */
async function loadTile(tile: ImageTile, source: string): Promise<void> {
  try {
    (tile.getImage() as HTMLImageElement).src = await picture(source);
  } catch {
    tile.setState(TileState.ERROR);
  }
}
