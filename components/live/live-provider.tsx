"use client";

import { createContext, type ReactNode, useContext } from "react";
import type { Overview } from "#lib/overview/schema.ts";
import { type Live, useLiveOverview } from "./use-live-overview.ts";

const LiveContext = createContext<Live | null>(null);

/** One line to the gateway for the whole dashboard: it stays open while the reader moves between pages. */
export function LiveProvider({ first, children }: { first: Overview | null; children: ReactNode }) {
  return <LiveContext value={useLiveOverview(first)}>{children}</LiveContext>;
}

export function useLive(): Live {
  const live = useContext(LiveContext);
  if (!live) throw new Error("useLive needs a LiveProvider above it");
  return live;
}
