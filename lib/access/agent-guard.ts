import { formatUsd, type NanoUsd } from "../kit/money.ts";
import { AgentAccount, type Period } from "./agent-account.ts";
import type { AgentIdentity } from "./agent-keys.ts";
import { type Held, HeldLease, type Lease } from "./agent-lease.ts";
import type { CallEstimate } from "./call-estimate.ts";
import { fitsModel } from "./model-pattern.ts";
import type { AgentSettings, AgentUse } from "./schema.ts";
import type { SlidingWindow } from "./sliding-window.ts";

export type AdmitRequest = {
  agentId: string;
  /** Null where it cannot be told. */
  model: string | null;
  /** Called only where a cap or budget asks for it. Null where a call's use cannot be told beforehand. */
  estimate: (() => CallEstimate) | null;
  nowMs: number;
  /** When the call arrived, if that was earlier: its cost belongs to that day. */
  startedAtMs?: number;
};

/** Why an agent's call may not go out. `starting` passes by itself within seconds. */
export type DenialReason =
  | "revoked"
  | "disabled"
  | "model"
  | "requests"
  | "input_tokens"
  | "output_tokens"
  | "budget"
  | "unpriced"
  | "starting";

export type Denial = {
  admitted: false;
  reason: DenialReason;
  /** One sentence for who made the call: the agent, the cap, and when it frees. */
  message: string;
  /** Null where waiting does not help. */
  retryAfterS: number | null;
};

export type Admission = { admitted: true; lease: Lease } | Denial;

/** One line of what the database knows an agent to have spent. */
export type SpendRow = { agentId: string; day: string; costNanoUsd: NanoUsd };

/** Until calls under way end there is no telling; asking every few seconds is soon enough. */
const LOOK_AGAIN_S = 5;

const REVOKED = deny("revoked", "This agent key was revoked while the call was on its way.", null);

/**
 * Holds every agent to its settings. Synchronous and in memory, so that no two calls are judged at once and none waits:
 * what a call may use at most is held before it goes out, and what it did use is counted when it ends. So neither caps
 * nor budgets are ever exceeded, however many calls come together, as long as estimates are upper bounds. A single call
 * that is larger than a whole token cap goes out when nothing else is in the way, for it could never otherwise.
 *
 * Several instances judge each by itself: caps are then per instance, and budgets learn of the others' spending with
 * each refresh.
 */
export class AgentGuard {
  readonly #agents: { get(agentId: string): AgentIdentity | null };
  readonly #accounts = new Map<string, AgentAccount>();
  #knowsSpend = false;

  constructor(options: { agents: { get(agentId: string): AgentIdentity | null } }) {
    this.#agents = options.agents;
  }

  admit(request: AdmitRequest): Admission {
    const { agentId, model, nowMs } = request;
    const agent = this.#agents.get(agentId);
    const denial = this.judgeCall(agentId, model);
    if (agent === null || denial) return denial ?? REVOKED;
    const { name, settings } = agent;

    const account = this.#accountOf(agentId);
    const startedAtMs = request.startedAtMs ?? nowMs;
    const [day, month] = [account.day(startedAtMs), account.month(startedAtMs)];
    const held = hold(settings, request.estimate);
    return (
      judgeRequests(name, settings.requestsPerMinute, account.requests, nowMs) ??
      judgeTokens({ name, cap: settings.inputTokensPerMinute, kind: "input", account, take: held.input, nowMs }) ??
      judgeTokens({ name, cap: settings.outputTokensPerMinute, kind: "output", account, take: held.output, nowMs }) ??
      this.#judgeBudget(name, "daily", settings.dailyBudgetNanoUsd, day, held.cost, nowMs) ??
      this.#judgeBudget(name, "monthly", settings.monthlyBudgetNanoUsd, month, held.cost, nowMs) ?? {
        admitted: true,
        lease: new HeldLease(account, day, month, held, nowMs),
      }
    );
  }

  /** Whether an agent may call at all: for calls that cost nothing and count against no cap. */
  judgeAgent(agentId: string): Denial | null {
    return judgeAgent(this.#agents.get(agentId));
  }

  /** Whether an agent may call a model, whatever it has used: for calls that cost nothing because nothing is sent. */
  judgeCall(agentId: string, model: string | null): Denial | null {
    const agent = this.#agents.get(agentId);
    return judgeAgent(agent) ?? (agent && judgeModel(agent.name, agent.settings.allowedModels, model));
  }

  /** Whether an agent's settings are about what a call's body says, which has to be read exactly then. */
  readsBodies(agentId: string): boolean {
    const settings = this.#agents.get(agentId)?.settings;
    return settings === undefined || settings.allowedModels !== null || isBoundByUse(settings);
  }

  /**
   * What the database knows of this month. It never lowers what memory has: it lags behind by what is not drained yet,
   * and brings what an earlier process or another instance spent. The first time must come after everything that an
   * earlier process left has reached the database; until then agents with a budget have to wait.
   */
  learnSpend(rows: readonly SpendRow[]): void {
    const months = new Map<Period, NanoUsd>();
    for (const { agentId, day: iso, costNanoUsd } of rows) {
      const account = this.#accountOf(agentId);
      const atMs = Date.parse(iso);
      const day = account.day(atMs);
      day.spent = Math.max(day.spent, costNanoUsd);
      const month = account.month(atMs);
      months.set(month, (months.get(month) ?? 0) + costNanoUsd);
    }
    for (const [month, sum] of months) month.spent = Math.max(month.spent, sum);
    this.#knowsSpend = true;
  }

  use(agentId: string, nowMs: number): AgentUse {
    const account = this.#accountOf(agentId);
    const day = account.day(nowMs);
    return {
      spentTodayNanoUsd: day.spent + day.unknown,
      spentThisMonthNanoUsd: account.month(nowMs).spent + account.month(nowMs).unknown,
      reservedNanoUsd: account.month(nowMs).reserved,
      requests: account.requests.sum(nowMs),
      inputTokens: account.input.sum(nowMs),
      outputTokens: account.output.sum(nowMs),
      openCalls: account.openCalls,
    };
  }

  #accountOf(agentId: string): AgentAccount {
    let account = this.#accounts.get(agentId);
    if (!account) {
      account = new AgentAccount();
      this.#accounts.set(agentId, account);
    }
    return account;
  }

  #judgeBudget(
    name: string,
    kind: "daily" | "monthly",
    budget: NanoUsd | null,
    period: Period,
    cost: NanoUsd | null,
    nowMs: number,
  ): Denial | null {
    if (budget === null) return null;
    if (!this.#knowsSpend) {
      return deny("starting", `Headroom has just started and is still reading what agent ${name} has spent.`, 1);
    }
    if (cost === null) {
      const why = "the most that this call can cost is not known beforehand";
      return deny(
        "unpriced",
        `Agent ${name} has a ${kind} budget, and ${why}: use /v1/messages and a priced model.`,
        null,
      );
    }
    const spent = period.spent + period.unknown;
    if (spent + period.reserved + cost <= budget) return null;
    const cap = `its ${kind} budget of ${usd(budget)}`;
    if (cost > budget) {
      const most = `may cost up to ${usd(cost)}, more than all of ${cap}`;
      return deny("budget", `This call of agent ${name} ${most}: set a lower max_tokens, or ask an operator.`, null);
    }
    if (spent + cost <= budget) {
      const held = `${usd(spent)} spent and ${usd(period.reserved)} held for calls under way`;
      return deny("budget", `Agent ${name} has ${held} of ${cap}: room frees as those calls end.`, LOOK_AGAIN_S);
    }
    const frees = new Date(period.endsAtMs).toISOString().slice(0, 16).replace("T", " ");
    const rest = `has spent ${usd(spent)} of ${cap}, and this call may cost up to ${usd(cost)}`;
    return deny("budget", `Agent ${name} ${rest}: it frees at ${frees} UTC.`, seconds(period.endsAtMs - nowMs));
  }
}

function isBoundByUse(settings: AgentSettings): boolean {
  const { inputTokensPerMinute, outputTokensPerMinute, dailyBudgetNanoUsd, monthlyBudgetNanoUsd } = settings;
  return [inputTokensPerMinute, outputTokensPerMinute, dailyBudgetNanoUsd, monthlyBudgetNanoUsd].some(
    (bound) => bound !== null,
  );
}

function hold(settings: AgentSettings, estimate: (() => CallEstimate) | null): Held {
  const { inputTokensPerMinute, outputTokensPerMinute } = settings;
  if (!isBoundByUse(settings)) return { input: 0, output: 0, cost: 0 };
  if (estimate === null) return { input: 0, output: 0, cost: null };
  const { inputTokens, maxOutputTokens, worstCaseNanoUsd } = estimate();
  return {
    input: Math.min(inputTokens, inputTokensPerMinute ?? inputTokens),
    output: Math.min(maxOutputTokens, outputTokensPerMinute ?? maxOutputTokens),
    cost: worstCaseNanoUsd,
  };
}

function judgeAgent(agent: AgentIdentity | null): Denial | null {
  if (agent === null) return REVOKED;
  return agent.settings.enabled
    ? null
    : deny("disabled", `Agent ${agent.name} is switched off: ask an operator.`, null);
}

function judgeModel(name: string, allowed: readonly string[] | null, model: string | null): Denial | null {
  if (allowed === null) return null;
  if (model !== null && allowed.some((pattern) => fitsModel(pattern, model))) return null;
  const which = model === null ? "a call whose model cannot be told" : model.slice(0, 200);
  return deny("model", `Agent ${name} may not use ${which}; it may use ${allowed.join(", ")}.`, null);
}

function judgeRequests(name: string, cap: number | null, window: SlidingWindow, nowMs: number): Denial | null {
  const used = window.sum(nowMs);
  if (cap === null || used + 1 <= cap) return null;
  const wait = seconds(window.msUntilFreed(used + 1 - cap, nowMs) ?? 0);
  return deny(
    "requests",
    `Agent ${name} has reached its cap of ${count(cap, "request")} a minute: ${frees(wait)}.`,
    wait,
  );
}

type TokenCase = {
  name: string;
  cap: number | null;
  kind: "input" | "output";
  account: AgentAccount;
  take: number;
  nowMs: number;
};

function judgeTokens({ name, cap, kind, account, take, nowMs }: TokenCase): Denial | null {
  const window = account[kind];
  const used = window.sum(nowMs);
  const held = kind === "output" ? account.heldOutput : 0;
  // A cap that is used up holds even for a call that asks for nothing.
  const over = used + held + Math.max(take, 1) - (cap ?? Number.POSITIVE_INFINITY);
  if (cap === null || over <= 0) return null;
  const freedMs = window.msUntilFreed(over, nowMs);
  const wait = freedMs === null ? LOOK_AGAIN_S : seconds(freedMs);
  const when = freedMs === null ? "room frees as calls under way end" : frees(wait);
  const state = `${count(used, "token")} used, ${count(held, "token")} held for calls under way, up to ${take} asked for`;
  const limit = `its cap of ${count(cap, `${kind} token`)} a minute (${state})`;
  return deny(`${kind}_tokens`, `Agent ${name} would pass ${limit}: ${when}.`, wait);
}

function deny(reason: DenialReason, message: string, retryAfterS: number | null): Denial {
  return { admitted: false, reason, message, retryAfterS };
}

function frees(waitS: number): string {
  return `it frees in ${waitS} s`;
}

function seconds(ms: number): number {
  return Math.max(Math.ceil(ms / 1000), 1);
}

function count(value: number, noun: string): string {
  return `${value.toLocaleString("en-US")} ${noun}${value === 1 ? "" : "s"}`;
}

/** Cents where they tell enough. */
function usd(nano: NanoUsd): string {
  return formatUsd(nano, nano % 10_000_000 === 0 ? 2 : 6);
}
