import { randomBytes } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { Agent, request } from "undici";
import { z } from "zod";
import { type Clock, systemClock } from "../../kit/clock.ts";
import { AppError, messageOf } from "../../kit/errors.ts";
import { parseRetryAfter } from "../retry.ts";
import { summarise } from "../wording.ts";
import { type AddressGuard, ForbiddenAddressError } from "./address-guard.ts";
import { type Attempt, type ChannelKind, failed, type Notice } from "./channel.ts";

const WebhookSettings = z.object({ url: z.string() });
type WebhookSettings = z.infer<typeof WebhookSettings>;

export type WebhookOptions = { guard: AddressGuard; clock?: Clock; timeoutMs?: number };

const TIMEOUT_MS = 15_000;
/** Read at most: enough for the kilobyte that is kept. */
const ANSWER_BYTES = 4_096;

/**
 * Standard Webhooks (https://www.standardwebhooks.com): the body is `{type, timestamp, data}`, `webhook-id` is the same
 * on every attempt, and `webhook-signature` covers id, time of the attempt and the exact bytes sent.
 */
export function createWebhook({
  guard,
  clock = systemClock,
  timeoutMs = TIMEOUT_MS,
}: WebhookOptions): ChannelKind<WebhookSettings> {
  // An agent of its own: undici's global one may have been pointed at a proxy. Nothing here follows redirects.
  const agent = new Agent({ connect: { lookup: guard.lookup, timeout: (timeoutMs * 2) / 3 }, allowH2: false });
  return {
    kind: "webhook",
    settings: WebhookSettings,
    check({ url }) {
      const fault = guard.checkUrl(url);
      if (fault) throw new AppError("invalid_input", `This webhook cannot be used: ${fault}.`);
    },
    createSecret: () => `whsec_${randomBytes(32).toString("base64")}`,
    async send(notice, { settings, secrets }) {
      const fault = guard.checkUrl(settings.url);
      if (fault) return failed(`Not sent: ${fault}.`, { permanent: true });
      const body = webhookBody(notice);
      const at = new Date(clock.now());
      try {
        const signal = AbortSignal.timeout(timeoutMs);
        const answer = await request(settings.url, {
          method: "POST",
          dispatcher: agent,
          signal,
          headersTimeout: timeoutMs,
          bodyTimeout: timeoutMs,
          headers: {
            "content-type": "application/json",
            "user-agent": "Headroom",
            "webhook-id": notice.id,
            "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
            "webhook-signature": secrets.map((secret) => new Webhook(secret).sign(notice.id, at, body)).join(" "),
          },
          body,
        });
        const text = await firstBytes(answer.body);
        const retryAfter = answer.headers["retry-after"];
        return judge(answer.statusCode, text, typeof retryAfter === "string" ? retryAfter : null, clock.now());
      } catch (error) {
        return explain(error, timeoutMs);
      }
    },
    close: () => agent.destroy(),
  };
}

/** The exact bytes that are signed and sent. */
export function webhookBody(notice: Notice): string {
  const { alert } = notice;
  const data = alert
    ? {
        ...alert,
        percent: Math.floor(alert.utilisation * 100 + 1e-9),
        eventNumber: notice.eventNumber,
        summary: summarise(notice),
        url: notice.url,
      }
    : { channel: notice.channelName, summary: summarise(notice), url: notice.url };
  return JSON.stringify({ type: notice.event, timestamp: notice.createdAt, data });
}

function judge(status: number, text: string, retryAfter: string | null, nowMs: number): Attempt {
  if (status >= 200 && status < 300) return { outcome: "delivered", status, answer: text };
  if (status === 410) {
    const disableReason = "The endpoint answered 410 Gone: it asks not to be called any more.";
    return failed(text, { status, permanent: true, disableReason });
  }
  if (status >= 300 && status < 400) {
    return failed(text || "The endpoint redirects. Redirects are not followed: use the final address.", {
      status,
      permanent: true,
    });
  }
  const isPermanent = status >= 400 && status < 500 && status !== 408 && status !== 429;
  return failed(text, { status, permanent: isPermanent, retryAfterSeconds: parseRetryAfter(retryAfter, nowMs) });
}

/** Errors in which the connection never stood, so that the notice cannot have arrived. */
const NEVER_SENT = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

function explain(error: unknown, timeoutMs: number): Attempt {
  if (error instanceof ForbiddenAddressError) return failed(`Not sent: ${error.message}.`, { permanent: true });
  if (error instanceof Error && error.name === "TimeoutError") {
    return failed(`No answer within ${Math.round(timeoutMs / 1000)} seconds.`, { uncertain: true });
  }
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return failed(messageOf(error) || code, { uncertain: !NEVER_SENT.has(code) && !/CERT|TLS|SSL/.test(code) });
}

/** Reads a little and hangs up: an answer may be endless, and once the status is known its end does not matter. */
async function firstBytes(body: AsyncIterable<Uint8Array> & { destroy(): unknown }): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of body) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= ANSWER_BYTES) break;
    }
  } catch {
    // Cut short or too slow; what came is kept.
  }
  body.destroy();
  return Buffer.concat(chunks).subarray(0, ANSWER_BYTES).toString("utf8");
}
