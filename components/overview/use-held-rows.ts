"use client";

import { useRef } from "react";

/**
 * Rows that stand still while `isHeld`: what came since waits, counted, until the reader lets go. A row is held by
 * identity, so the list under the pointer neither moves nor changes.
 */
export function useHeldRows<Row extends { id: string }>(
  rows: readonly Row[],
  isHeld: boolean,
): [shown: readonly Row[], waiting: number] {
  const held = useRef<readonly Row[]>(rows);
  if (!isHeld) held.current = rows;
  return [held.current, countNew(rows, held.current)];
}

/** How many rows of a list that grows at its head stand above the head of an earlier state of it. */
export function countNew<Row extends { id: string }>(rows: readonly Row[], earlier: readonly Row[]): number {
  const known = new Set(earlier.map((row) => row.id));
  const first = rows.findIndex((row) => known.has(row.id));
  return first < 0 ? rows.length : first;
}
