import { CLASSES, type TrafficClass } from "./schema.ts";

/** A class as an index into tables: 0 critical to 3 low. */
export type ClassIndex = 0 | 1 | 2 | 3;

export const CLASS_INDEXES = [0, 1, 2, 3] as const;

const INDEX: Record<TrafficClass, ClassIndex> = { critical: 0, high: 1, normal: 2, low: 3 };

export function classIndex(name: TrafficClass): ClassIndex {
  return INDEX[name];
}

export function className(index: ClassIndex): TrafficClass {
  return CLASSES[index];
}
