import { Agent, type IncomingMessage, request } from "node:http";
import { FAULTS, type Fault } from "../../lib/simulator/faults.ts";
import { ENCODINGS } from "../../lib/simulator/simulator-headers.ts";
import type { Random } from "./random.ts";

/** When a client gives up on its call; null when it does not. */
export type HangUp = "uploading" | "sent" | "waiting" | "head" | "body";

export type CallPlan = {
  label: string;
  streamed: boolean;
  encoding: string | null;
  fault: Fault | null;
  hangUp: HangUp | null;
  /** Milliseconds or chunks until then. */
  patience: number;
  headers: Record<string, string>;
};

/** What the client saw of one call. */
export type CallOutcome = {
  plan: CallPlan;
  /** Null when no answer came. */
  status: number | null;
  requestId: string | null;
  /** whole: to the last byte. cut: broken off by the other side. left: by the client. */
  ending: "whole" | "cut" | "left";
};

const MODELS = ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-haiku-4-5", "claude-fable-5-1"];
const HANG_UPS: readonly HangUp[] = ["uploading", "sent", "waiting", "head", "body", "body", "body"];
/** These last until somebody gives up. */
const ENDLESS: readonly Fault[] = ["stall", "slow-headers"];

export function planCall(random: Random, number: number): CallPlan {
  const input = 10 + random.int(5_000);
  const fault = random.int(3) === 0 ? random.pick(FAULTS) : null;
  const mustLeave = fault !== null && ENDLESS.includes(fault);
  const hangUp = mustLeave || random.int(5) === 0 ? random.pick(HANG_UPS) : null;
  return {
    label: `call-${number}`,
    streamed: random.int(3) > 0,
    encoding: random.pick([null, ...ENCODINGS]),
    fault,
    hangUp: mustLeave && hangUp !== "uploading" ? "waiting" : hangUp,
    patience: random.int(mustLeave ? 120 : 60),
    headers: {
      "x-simulator-input-tokens": String(input),
      "x-simulator-cache-read-tokens": String(random.int(input >> 1)),
      "x-simulator-cache-write-tokens": String(random.int(input >> 2)),
      "x-simulator-output-tokens": String(1 + random.int(600)),
      "x-simulator-tokens-per-second": String(2_000 + random.int(20_000)),
      "x-simulator-first-token-ms": String(random.int(15)),
    },
  };
}

/** The same call without what went wrong with it. */
export function retryOf(plan: CallPlan, attempt: number): CallPlan {
  return { ...plan, label: `${plan.label}.${attempt}`, fault: null };
}

export function openAgent(): Agent {
  return new Agent({ keepAlive: true });
}

/** Makes one call, hanging up where planned. Never rejects. */
export function makeCall(url: string, plan: CallPlan, agent: Agent): Promise<CallOutcome> {
  const body = Buffer.from(
    JSON.stringify({
      model: MODELS[plan.label.length % MODELS.length],
      max_tokens: 1_000,
      stream: plan.streamed,
      messages: [{ role: "user", content: `${plan.label} ${"why ".repeat(200)}` }],
    }),
  );
  return new Promise((resolve) => {
    const outcome: CallOutcome = { plan, status: null, requestId: null, ending: "cut" };
    const req = request(`${url}/v1/messages`, {
      method: "POST",
      agent,
      headers: {
        "content-type": "application/json",
        "content-length": body.length,
        "x-api-key": "sk-ant-1",
        "anthropic-version": "2023-06-01",
        "x-headroom-agent": plan.label,
        ...plan.headers,
        ...(plan.fault === null ? {} : { "x-simulator-fault": plan.fault }),
        ...(plan.encoding === null ? {} : { "accept-encoding": plan.encoding, "x-simulator-encoding": plan.encoding }),
        ...(plan.hangUp === "uploading" ? { expect: "100-continue" } : {}),
      },
    });
    const leave = () => {
      if (outcome.ending === "whole") return;
      outcome.ending = "left";
      req.destroy();
    };
    req.on("error", () => {});
    req.on("close", () => resolve(outcome));
    req.on("response", (res) => {
      outcome.status = res.statusCode ?? null;
      outcome.requestId = res.headers["request-id"]?.toString() ?? null;
      follow(res, plan, outcome, leave);
    });
    if (plan.hangUp === "uploading") {
      // The server has read the head when it says so: from here on it is a call.
      req.flushHeaders();
      req.once("continue", () => req.write(body.subarray(0, body.length >> 1), () => leave()));
      return;
    }
    req.end(body);
    req.once("finish", () => {
      if (plan.hangUp === "sent") leave();
      if (plan.hangUp === "waiting") setTimeout(leave, plan.patience);
    });
  });
}

function follow(res: IncomingMessage, plan: CallPlan, outcome: CallOutcome, leave: () => void): void {
  let chunks = 0;
  res.on("error", () => {});
  res.on("data", () => {
    chunks += 1;
    if (plan.hangUp === "body" && chunks > plan.patience / 10) leave();
  });
  res.on("end", () => {
    if (res.complete && outcome.ending !== "left") outcome.ending = "whole";
  });
  if (plan.hangUp === "head") leave();
}
