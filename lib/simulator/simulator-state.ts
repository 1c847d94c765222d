import type { FaultRates } from "./faults.ts";
import type { Ledger } from "./ledger.ts";
import type { OrganizationLimits } from "./organization-limits.ts";
import type { PromptCache } from "./prompt-cache.ts";
import type { Encoding } from "./simulator-headers.ts";

/** What one simulated API keeps between calls. */
export type SimulatorState = {
  limits: OrganizationLimits;
  cache: PromptCache;
  ledger: Ledger;
  faults: FaultRates;
  seed: number;
  timeScale: number;
  firstTokenMs: number;
  tokensPerSecond: number;
  pingMs: number;
  slowHeadersMs: number;
  inputEstimateError: number;
  encoding: Encoding | null;
  organizationId: string;
  /** A new seed for every call, the same row under the same seed. */
  nextDraw(): number;
};
