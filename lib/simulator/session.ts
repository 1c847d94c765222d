import type { AgentVersion } from "./agents-endpoint.ts";
import type { JsonObject } from "./field.ts";
import { timestamp } from "./json-fields.ts";
import { type SessionEvent, toTurn } from "./session-events.ts";
import { SessionSampler } from "./session-sampler.ts";
import type { Wishes } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";

export type SessionStatus = "running" | "idle" | "terminated";

export type SessionOptions = {
  id: string;
  agent: AgentVersion;
  environmentId: string;
  title: string | null;
  metadata: Record<string, string>;
  resources: JsonObject[];
  vaultIds: string[];
  budget: unknown;
};

type Listener = (event: JsonObject) => void;
type Queued = { event: SessionEvent; wishes: Wishes };

/**
 * One session of an agent: a log of events. What a caller sends is queued and makes the agent run; it samples the
 * model until it has answered or needs a tool's result. It runs whether or not anybody listens.
 */
export class Session {
  readonly id: string;
  readonly environmentId: string;
  readonly createdMs: number;
  readonly events: SessionEvent[] = [];
  agent: AgentVersion;
  title: string | null;
  metadata: Record<string, string>;
  resources: JsonObject[];
  vaultIds: string[];
  budget: unknown;
  archivedMs: number | null = null;
  updatedMs: number;
  #state: SimulatorState;
  #status: SessionStatus = "idle";
  #sampler: SessionSampler;
  #listeners = new Set<Listener>();
  #queue: Queued[] = [];
  #conversation: JsonObject[] = [];
  /** Calls of tools whose results the agent waits for. */
  #pending = new Set<string>();
  #interruption = new AbortController();
  #runningMs = 0;

  constructor(state: SimulatorState, options: SessionOptions) {
    this.#state = state;
    this.createdMs = state.now();
    this.updatedMs = this.createdMs;
    this.id = options.id;
    this.environmentId = options.environmentId;
    this.agent = options.agent;
    this.title = options.title;
    this.metadata = options.metadata;
    this.resources = options.resources;
    this.vaultIds = options.vaultIds;
    this.budget = options.budget;
    this.#sampler = new SessionSampler(state, options.id);
  }

  get status(): SessionStatus {
    return this.#status;
  }

  /** Seconds in which the agent was at work. */
  get activeSeconds(): number {
    return Math.round(this.#runningMs / 1_000);
  }

  get usage(): object {
    return { ...this.#sampler.usage, active_seconds: this.activeSeconds };
  }

  /** Told of every event from now on. Returns how to stop. */
  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Queues what a caller sends, and sets the agent to work. */
  receive(events: readonly JsonObject[], wishes: Wishes): SessionEvent[] {
    const queued = events.map((event) => {
      const stored = { id: this.#eventId(), ...event, type: String(event.type), processed_at: null };
      return { event: stored, wishes };
    });
    const answer = queued.map(({ event }) => ({ ...event }));
    this.#queue.push(...queued);
    if (events.some((event) => event.type === "user.interrupt")) this.#interruption.abort();
    if (this.#status === "idle") this.#state.inBackground(this.#run());
    return answer;
  }

  /** Nothing happens in it any more. */
  end(type: "session.deleted" | "session.status_terminated"): void {
    this.#interruption.abort();
    this.#queue = [];
    this.#status = "terminated";
    this.emit({ type });
  }

  /** Logs an event of the session's own, and tells it. */
  emit(event: JsonObject & { type: string }): SessionEvent {
    const logged = { id: this.#eventId(), ...event, processed_at: timestamp(this.#state.now()) };
    this.events.push(logged);
    this.#tell(logged);
    return logged;
  }

  async #run(): Promise<void> {
    this.#status = "running";
    const beganMs = this.#state.now();
    try {
      let running = false;
      let wishes = this.#takeQueued();
      while (wishes && this.#status === "running") {
        if (!running) this.emit({ type: "session.status_running" });
        running = true;
        await this.#sample(wishes);
        wishes = this.#takeQueued();
      }
    } finally {
      this.#runningMs += this.#state.now() - beganMs;
      this.updatedMs = this.#state.now();
      if (this.#status === "running") this.#status = "idle";
    }
  }

  /** Takes what is queued into the conversation. The wishes of what the agent has to answer, or null. */
  #takeQueued(): Wishes | null {
    let asked: Wishes | null = null;
    for (const { event, wishes } of this.#queue.splice(0)) {
      event.processed_at = timestamp(this.#state.now());
      this.events.push(event);
      this.#tell(event);
      const turn = toTurn(event);
      if (!turn) continue;
      this.#pending.delete(String(event.custom_tool_use_id));
      this.#conversation.push(turn);
      asked = wishes;
    }
    if (this.#interruption.signal.aborted && this.#status === "running") this.#interruption = new AbortController();
    return this.#pending.size > 0 ? null : asked;
  }

  async #sample(wishes: Wishes): Promise<void> {
    const start = this.emit({ type: "span.model_request_start" });
    const messageId = this.#eventId();
    const sample = await this.#sampler.sample({
      agent: this.agent,
      conversation: this.#conversation,
      wishes,
      signal: this.#interruption.signal,
      onRefused: (error) => this.emit({ type: "session.error", error }),
      onText: (text, first) => {
        if (first) this.#tell({ type: "event_start", event: { id: messageId, type: "agent.message" } });
        const delta = { type: "content_delta", index: 0, content: { type: "text", text } };
        this.#tell({ type: "event_delta", event_id: messageId, delta });
      },
    });
    if (this.#status !== "running") return;
    if (sample.blocks.length > 0) this.#conversation.push({ role: "assistant", content: sample.blocks });
    if (sample.text !== "") {
      this.emit({ id: messageId, type: "agent.message", content: [{ type: "text", text: sample.text }] });
    }
    for (const { id, name, input } of sample.toolCalls) {
      this.#pending.add(id);
      this.emit({ id, type: "agent.custom_tool_use", name, input, session_thread_id: null });
    }
    const { usage, failed } = sample;
    const end = { is_error: failed, model_request_start_id: start.id, model_usage: usage };
    this.emit({ type: "span.model_request_end", ...end });
    const stop_reason = failed
      ? { type: "retries_exhausted" }
      : this.#pending.size > 0
        ? { type: "requires_action", event_ids: [...this.#pending] }
        : { type: sample.refused ? "refusal" : "end_turn" };
    const stop_details = sample.refused ? { type: "refusal", category: null, explanation: null } : null;
    this.emit({ type: "session.status_idle", stop_reason, stop_details });
  }

  #tell(event: JsonObject): void {
    for (const listener of this.#listeners) listener(event);
  }

  #eventId(): string {
    return this.#state.newId("sevt");
  }
}
