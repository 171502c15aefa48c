/** A sign for every change, thousands of them in every frame: blitted from one picture per kind, which no general layer does. */

import Layer from "ol/layer/Layer";
import type { FrameState } from "ol/Map";

import { h } from "./dom";

export interface Mark {
  x: number;
  y: number;
  /** Its picture at a pixel ratio; the same object for all marks of a kind. */
  picture: (ratio: number) => HTMLCanvasElement;
}

interface Drawn {
  picture: HTMLCanvasElement;
  x: number;
  y: number;
}

/** A fourth of a mark: nearer ones are one blot, whatever is drawn. */
const CELL_PX = 4;
/** So far beyond the edge a mark still reaches into the map. */
const BEYOND_CELLS = 3;

export class MarksLayer extends Layer {
  private readonly canvas = h("canvas", { class: "marks" });
  private marks: readonly Mark[] = [];

  constructor() {
    super({});
  }

  /** What is shown from now on; the first lie on top. */
  show(marks: readonly Mark[]): void {
    this.marks = marks;
    this.changed();
  }

  override render(frame: FrameState | null): HTMLElement {
    if (!frame) return this.canvas;
    const [width = 0, height = 0] = frame.size;
    const ratio = frame.pixelRatio;
    const [wide, tall] = [Math.round(width * ratio), Math.round(height * ratio)];
    const { canvas } = this;
    const context = canvas.getContext("2d");
    if (!context) return canvas;
    // A new size empties the canvas. While a page is printed nothing else may: Chromium prints a cleared rectangle white, over all below it.
    const printing = document.documentElement.hasAttribute("data-printing");
    if (printing || canvas.width !== wide || canvas.height !== tall) [canvas.width, canvas.height] = [wide, tall];
    else context.clearRect(0, 0, wide, tall);
    const drawn = this.drawn(frame, wide, tall);
    for (let index = drawn.length - 1; index >= 0; index -= 1) {
      const { picture, x, y } = drawn[index] as Drawn;
      context.drawImage(picture, x, y);
    }
    return canvas;
  }

  /** Which marks lie on the screen, and where. Of those that would all but cover each other only the first is drawn. */
  private drawn(frame: FrameState, wide: number, tall: number): Drawn[] {
    const ratio = frame.pixelRatio;
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = frame.coordinateToPixelTransform;
    const cell = CELL_PX * ratio;
    const across = Math.ceil(wide / cell) + 2 * BEYOND_CELLS;
    const taken = new Uint8Array(across * (Math.ceil(tall / cell) + 2 * BEYOND_CELLS));
    const found: Drawn[] = [];
    const edge = BEYOND_CELLS * cell;
    for (const mark of this.marks) {
      const x = (a * mark.x + c * mark.y + e) * ratio;
      const y = (b * mark.x + d * mark.y + f) * ratio;
      if (x <= -edge || y <= -edge || x >= wide + edge || y >= tall + edge) continue;
      const at = Math.floor((y + edge) / cell) * across + Math.floor((x + edge) / cell);
      if (taken[at]) continue;
      taken[at] = 1;
      const picture = mark.picture(ratio);
      // Whole pixels: a picture that is moved by a part of one is blurred, and takes far longer.
      found.push({ picture, x: Math.round(x - picture.width / 2), y: Math.round(y - picture.height / 2) });
    }
    return found;
  }
}
