/** A place in pixels, or null where a line breaks off. */
export type Place = { x: number; y: number } | null;

/** An SVG path through the places; a null lifts the pen. */
export function linePath(places: readonly Place[]): string {
  let path = "";
  let down = false;
  for (const place of places) {
    if (place) path += `${down ? "L" : "M"}${round(place.x)} ${round(place.y)}`;
    down = place !== null;
  }
  return path;
}

/** The same line, each of its runs closed down to a base. */
export function areaPath(places: readonly Place[], baseY: number): string {
  let path = "";
  let run: { x: number; y: number }[] = [];
  for (const place of [...places, null]) {
    if (place) {
      run.push(place);
      continue;
    }
    const first = run[0];
    const last = run.at(-1);
    if (first && last) path += `${linePath(run)}L${round(last.x)} ${round(baseY)}L${round(first.x)} ${round(baseY)}Z`;
    run = [];
  }
  return path;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
