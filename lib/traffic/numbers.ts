export function clamp(value: number, low: number, high: number): number {
  return value < low ? low : value > high ? high : value;
}

/** An element of a table whose bounds the caller knows. */
export function at(values: ArrayLike<number>, index: number): number {
  return values[index] ?? 0;
}

/** Adds in place. */
export function add(values: Float64Array, index: number, amount: number): void {
  values[index] = (values[index] ?? 0) + amount;
}
