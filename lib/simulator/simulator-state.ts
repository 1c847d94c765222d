import type { Agent } from "./agents-endpoint.ts";
import type { Environment } from "./environments-endpoint.ts";
import type { FaultRates } from "./faults.ts";
import type { FileStore } from "./file-store.ts";
import type { Ledger } from "./ledger.ts";
import type { MessageBatch } from "./message-batch.ts";
import type { OrganizationLimits } from "./organization-limits.ts";
import type { PromptCache } from "./prompt-cache.ts";
import type { ResourceStore } from "./resource-store.ts";
import type { Session } from "./session.ts";
import type { Encoding } from "./simulator-headers.ts";
import type { SkillStore } from "./skills-endpoint.ts";
import type { Subscription } from "./subscription.ts";
import type { UserProfile } from "./user-profiles-endpoint.ts";

/** What one simulated API keeps between calls. */
export type SimulatorState = {
  limits: OrganizationLimits;
  subscription: Subscription;
  cache: PromptCache;
  ledger: Ledger;
  faults: FaultRates;
  seed: number;
  timeScale: number;
  firstTokenMs: number;
  tokensPerSecond: number;
  pingMs: number;
  slowHeadersMs: number;
  batchMs: number;
  inputEstimateError: number;
  encoding: Encoding | null;
  priceFactor: number;
  organizationId: string;
  batches: ResourceStore<MessageBatch>;
  files: FileStore;
  skills: SkillStore;
  userProfiles: ResourceStore<UserProfile>;
  agents: ResourceStore<Agent>;
  environments: ResourceStore<Environment>;
  sessions: ResourceStore<Session>;
  /** A new seed for every call, the same row under the same seed. */
  nextDraw(): number;
  /** What ids are made of. */
  ids(): number;
  newId(prefix: string): string;
  /** In the simulator's time. */
  now(): number;
  /** For work that belongs to no call: resolves at a simulated time, or on a signal. */
  sleepUntil(atMs: number, signal: AbortSignal): Promise<void>;
  /** Counts work that belongs to no call, so that `idle` waits for it. */
  inBackground(work: Promise<void>): void;
  /** Ends every batch whose time has come, and books its requests. */
  settleBatches(nowMs: number): void;
};
