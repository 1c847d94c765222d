import type { TrafficClass } from "../traffic/schema.ts";

/** The agents of the demo: who they are, what they send, how often. Tokens are means; the prefix is cached. */
export type DemoAgent = {
  name: string;
  model: string;
  /** Mean seconds between calls. */
  everySeconds: number;
  /** Tokens of the prompt that repeat from call to call, and that are new. */
  prefix: number;
  fresh: number;
  output: number;
  streamed: boolean;
  class: TrafficClass;
};

const CLASSES: Record<string, TrafficClass> = {
  "checkout-bot": "critical",
  "support-triage": "high",
  "support-replies": "high",
  "incident-scribe": "high",
  "nightly-labeller": "low",
  "lead-scoring": "low",
  "meeting-notes": "low",
  research: "low",
};

const OPUS = "claude-opus-5-5";
const SONNET = "claude-sonnet-5-5";
const HAIKU = "claude-haiku-5-5";

export const DEMO_AGENTS: readonly DemoAgent[] = [
  agent("checkout-bot", SONNET, 2, 6_000, 900, 160, true),
  agent("support-triage", HAIKU, 1.5, 3_000, 1_400, 120, false),
  agent("support-replies", SONNET, 4, 9_000, 2_200, 450, true),
  agent("docs-search", HAIKU, 1.2, 1_500, 3_000, 90, false),
  agent("code-review", OPUS, 5, 24_000, 9_000, 900, true),
  agent("code-agent-1", OPUS, 6, 40_000, 6_000, 1_100, true),
  agent("code-agent-2", OPUS, 6, 38_000, 7_000, 1_200, true),
  agent("code-agent-3", OPUS, 7, 42_000, 5_500, 1_000, true),
  agent("release-notes", SONNET, 20, 8_000, 12_000, 1_400, true),
  agent("incident-scribe", SONNET, 12, 5_000, 4_000, 600, true),
  agent("contract-reader", OPUS, 15, 3_000, 48_000, 1_300, false),
  agent("invoice-parser", HAIKU, 2, 2_200, 5_500, 260, false),
  agent("mail-drafts", SONNET, 8, 2_500, 1_100, 380, true),
  agent("sql-helper", SONNET, 6, 7_000, 600, 240, true),
  agent("log-watcher", HAIKU, 1, 1_200, 2_600, 40, false),
  agent("test-writer", OPUS, 9, 28_000, 4_000, 1_800, true),
  agent("translator", HAIKU, 3, 800, 1_900, 700, true),
  agent("lead-scoring", HAIKU, 2.5, 1_800, 700, 30, false),
  agent("meeting-notes", SONNET, 25, 1_200, 18_000, 900, true),
  agent("schema-migrator", SONNET, 18, 11_000, 3_000, 1_500, true),
  agent("price-monitor", HAIKU, 4, 900, 2_400, 60, false),
  agent("research", OPUS, 14, 16_000, 22_000, 2_200, true),
  agent("moderation", HAIKU, 1, 1_600, 450, 12, false),
  agent("nightly-labeller", OPUS, 3, 2_000, 12_000, 180, false),
];

/** What drives a limit over 80 % of itself, now and then: the labeller's batches. */
export const BURST = { agent: "nightly-labeller", everySeconds: 300, lastsSeconds: 100, callsPerSecond: 2 };

function agent(
  name: string,
  model: string,
  everySeconds: number,
  prefix: number,
  fresh: number,
  output: number,
  streamed: boolean,
): DemoAgent {
  return { name, model, everySeconds, prefix, fresh, output, streamed, class: CLASSES[name] ?? "normal" };
}
