/** What the hand does to a map. */

import type Interaction from "ol/interaction/Interaction";
import MouseWheelZoom from "ol/interaction/MouseWheelZoom";
import { defaults } from "ol/interaction/defaults";
import type Collection from "ol/Collection";

/** The wheel zooms at once, as in every map; a finger moves the page until the map is tapped, or the page would be stuck. */
export function interactions(): Collection<Interaction> {
  return defaults({ onFocusOnly: true, mouseWheelZoom: false }).extend([new MouseWheelZoom()]);
}
