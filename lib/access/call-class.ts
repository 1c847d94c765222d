import { AppError } from "../kit/errors.ts";
import { CLASSES, type TrafficClass } from "../traffic/schema.ts";
import type { AgentSettings } from "./schema.ts";

type Bounds = Pick<AgentSettings, "maxClass" | "defaultClass">;

/** The class of an agent's call: what `x-headroom-class` asks for, no higher than the agent may, else its default. */
export function boundClass({ maxClass, defaultClass }: Bounds, asked: string | null): TrafficClass {
  const wanted = CLASSES.find((name) => name === asked?.trim().toLowerCase()) ?? defaultClass;
  return rank(wanted) < rank(maxClass) ? maxClass : wanted;
}

/** Throws `invalid_input` when an agent's default is above the highest class that it may ask for. */
export function requireOrderedClasses({ maxClass, defaultClass }: Bounds): void {
  if (rank(defaultClass) >= rank(maxClass)) return;
  throw new AppError(
    "invalid_input",
    `defaultClass ${defaultClass} is above maxClass ${maxClass}: lower the one or raise the other.`,
  );
}

/** 0 is the most important. */
function rank(name: TrafficClass): number {
  return CLASSES.indexOf(name);
}
