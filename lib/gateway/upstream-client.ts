import type { Readable } from "node:stream";
import { Http1Client } from "../http1/client.ts";
import type { ResponseHandler } from "../http1/response-handler.ts";
import { CollectedBody } from "./collected-body.ts";
import { type OwnAnswer, ownAnswers } from "./own-answer.ts";

export type UpstreamTimeouts = {
  /** To a connection, TLS included. */
  connectMs: number;
  /**
   * From the sent request to the answer's head. A plain answer has none until the model is done, so this is long: a
   * client that is tired of waiting leaves, and takes its call with it. After the first byte nothing is timed.
   */
  headersMs: number;
  /** The same for a call that streams, whose head comes before the model has done anything. */
  streamHeadersMs: number;
};

export const DEFAULT_TIMEOUTS: UpstreamTimeouts = {
  connectMs: 10_000,
  headersMs: 60 * 60_000,
  streamHeadersMs: 3 * 60_000,
};

export type UpstreamRequest = {
  method: string;
  target: string;
  /** Names and values in turn, without a content-length. */
  headers: string[];
  body: CollectedBody | Readable | null;
  /** The length that the client announced for a body that streams; a collected one has its own. */
  contentLength: string | null;
  /** Whether a stream was asked for. */
  streams?: boolean;
};

/** Below the idle time of common front ends, so that a call seldom meets a connection that is being closed. */
const KEEP_ALIVE_MS = 30_000;

/**
 * Connections to an upstream. HTTP/1.1 on purpose: names keep their spelling and order, one call's broken connection
 * is nobody else's, and an aborted call ends at once. Connections are as many as there are open calls; how many calls
 * may be open is traffic control's business, not the socket pool's.
 */
export class UpstreamClient {
  /** Such as `api.anthropic.com`. */
  readonly host: string;
  readonly #http: Http1Client;
  readonly #timeouts: UpstreamTimeouts;
  readonly #setting: string;
  readonly #prefix: string;

  /** `setting` names what to check when nothing answers at the address. */
  constructor(baseUrl: string, timeouts: UpstreamTimeouts, setting = "HEADROOM_UPSTREAM_URL") {
    const url = new URL(baseUrl);
    this.host = url.host;
    this.#timeouts = timeouts;
    this.#setting = setting;
    this.#prefix = url.pathname.replace(/\/+$/, "");
    const { connectMs, headersMs } = timeouts;
    this.#http = new Http1Client(url.origin, { connectMs, headersMs, keepAliveMs: KEEP_ALIVE_MS });
  }

  dispatch({ method, target, headers, body, streams, ...request }: UpstreamRequest, handler: ResponseHandler): void {
    const contentLength = request.contentLength === null ? null : Number(request.contentLength);
    const sent = body instanceof CollectedBody ? body.chunks : body;
    const headersMs = streams ? this.#timeouts.streamHeadersMs : this.#timeouts.headersMs;
    const whole = { method, target: this.#prefix + target, headers, body: sent, contentLength, headersMs };
    this.#http.dispatch(whole, handler);
  }

  /** What to tell the client of a call that failed before any answer came. */
  explain(error: Error): { code: string; answer: OwnAnswer } {
    const code = "code" in error && typeof error.code === "string" ? error.code : error.name;
    return { code, answer: explain(code, error, { host: this.host, ...this.#timeouts, setting: this.#setting }) };
  }

  /** Takes no more calls, and is gone once the last has ended. */
  async retire(): Promise<void> {
    await this.#http.close();
  }

  /** Ends every connection, used or not. */
  async close(): Promise<void> {
    await this.#http.destroy();
  }
}

/** Why no answer came, for the one who called: what happened at which host, and what to check. */
function explain(
  code: string,
  error: Error,
  { host, setting, connectMs }: UpstreamTimeouts & { host: string; setting: string },
): OwnAnswer {
  const check = `check ${setting} and that this machine can reach that host`;
  switch (code) {
    case "HTTP1_REQUEST":
    case "HTTP1_BODY_LENGTH":
      return ownAnswers.unforwardable(`This request cannot be forwarded: ${error.message}.`);
    case "HTTP1_HEADERS_TIMEOUT":
      return ownAnswers.timedOut(`The upstream ${host} gave ${error.message}.`);
    case "HTTP1_CONNECT_TIMEOUT":
    case "ETIMEDOUT":
      return ownAnswers.unreachable(
        `There was no connection to the upstream ${host} within ${connectMs / 1000} s: ${check}.`,
      );
    case "ECONNREFUSED":
      return ownAnswers.unreachable(`Nothing accepts connections at the upstream ${host}: ${check}.`);
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return ownAnswers.unreachable(`The name of the upstream ${host} cannot be resolved (${code}): ${check}.`);
    case "HTTP1_CLOSED":
    case "ECONNRESET":
    case "EPIPE":
      return ownAnswers.unreachable(
        `The upstream ${host} closed the connection before it answered: try again, and if that does not help, ${check}.`,
      );
    case "HTTP1_RESPONSE":
      return ownAnswers.unreachable(
        `What the upstream ${host} sent is not an HTTP answer (${error.message}): ${check}.`,
      );
  }
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|TLS|SSL/.test(code)) {
    const mend = `check ${setting}, or set NODE_EXTRA_CA_CERTS if a proxy re-signs your traffic`;
    return ownAnswers.unreachable(`The TLS certificate of the upstream ${host} was not accepted (${code}): ${mend}.`);
  }
  return ownAnswers.unreachable(`The upstream ${host} could not be called (${code}): ${check}.`);
}
