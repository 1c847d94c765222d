import { Readable } from "node:stream";
import { type Dispatcher, Pool } from "undici";
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
};

export const DEFAULT_TIMEOUTS: UpstreamTimeouts = { connectMs: 10_000, headersMs: 60 * 60_000 };

export type UpstreamRequest = {
  method: string;
  target: string;
  /** Names and values in turn, without a content-length. */
  headers: string[];
  body: CollectedBody | Readable | null;
  /** The length that the client announced for a body that streams; a collected one has its own. */
  contentLength: string | null;
};

/** Bodies from here on are let go of once they are sent. */
const LARGE_BODY_BYTES = 16 * 1024;

/**
 * Connections to an upstream. HTTP/1.1 on purpose: names keep their spelling and order, one call's broken connection
 * is nobody else's, and an aborted call ends at once. Connections are as many as there are open calls; how many calls
 * may be open is traffic control's business, not the socket pool's.
 */
export class UpstreamClient {
  /** Such as `api.anthropic.com`. */
  readonly host: string;
  readonly #pool: Pool;
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
    this.#pool = new Pool(url.origin, {
      connections: null,
      pipelining: 1,
      allowH2: false,
      connectTimeout: timeouts.connectMs,
      headersTimeout: timeouts.headersMs,
      bodyTimeout: 0,
      maxHeaderSize: 64 * 1024,
      // Below the idle time of common front ends, so that a call seldom meets a connection that is being closed.
      keepAliveTimeout: 30_000,
    });
  }

  dispatch(
    { method, target, headers, body, contentLength }: UpstreamRequest,
    handler: Dispatcher.DispatchHandler,
  ): void {
    const path = this.#prefix + target;
    const request = { method, path, headers };
    if (!(body instanceof CollectedBody)) {
      if (contentLength !== null) headers.push("content-length", contentLength);
      this.#pool.dispatch({ ...request, body }, handler);
    } else if (body.length < LARGE_BODY_BYTES) {
      this.#pool.dispatch({ ...request, body: body.whole() }, handler);
    } else {
      headers.push("content-length", String(body.length));
      this.#pool.dispatch({ ...request, body: sendOnce(body) }, handler);
    }
  }

  /** What to tell the client of a call that failed before any answer came. */
  explain(error: Error): { code: string; answer: OwnAnswer } {
    const code = "code" in error && typeof error.code === "string" ? error.code : error.name;
    return { code, answer: explain(code, error, { host: this.host, ...this.#timeouts, setting: this.#setting }) };
  }

  /** Takes no more calls, and is gone once the last has ended. */
  async retire(): Promise<void> {
    await this.#pool.close();
  }

  /** Ends every connection, used or not. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

/**
 * A body that is gone once it is sent. undici holds a request with its body until the answer has ended, and with a
 * thousand streams open that would be a thousand prompts in memory.
 */
function sendOnce({ chunks }: CollectedBody): Readable {
  const rest = [...chunks].reverse();
  return new Readable({
    highWaterMark: 0,
    read() {
      this.push(rest.pop() ?? null);
    },
  });
}

/** Why no answer came, for the one who called: what happened at which host, and what to check. */
function explain(
  code: string,
  error: Error,
  { host, setting, connectMs, headersMs }: UpstreamTimeouts & { host: string; setting: string },
): OwnAnswer {
  const check = `check ${setting} and that this machine can reach that host`;
  switch (code) {
    case "UND_ERR_INVALID_ARG":
    case "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH":
      return ownAnswers.unforwardable(`This request cannot be forwarded: ${error.message}.`);
    case "UND_ERR_HEADERS_TIMEOUT":
      return ownAnswers.timedOut(`The upstream ${host} did not answer within ${headersMs / 1000} s.`);
    case "UND_ERR_CONNECT_TIMEOUT":
    case "ETIMEDOUT":
      return ownAnswers.unreachable(
        `There was no connection to the upstream ${host} within ${connectMs / 1000} s: ${check}.`,
      );
    case "ECONNREFUSED":
      return ownAnswers.unreachable(`Nothing accepts connections at the upstream ${host}: ${check}.`);
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return ownAnswers.unreachable(`The name of the upstream ${host} cannot be resolved (${code}): ${check}.`);
    case "UND_ERR_SOCKET":
    case "ECONNRESET":
    case "EPIPE":
      return ownAnswers.unreachable(
        `The upstream ${host} closed the connection before it answered: try again, and if that does not help, ${check}.`,
      );
  }
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|TLS|SSL/.test(code)) {
    const mend = `check ${setting}, or set NODE_EXTRA_CA_CERTS if a proxy re-signs your traffic`;
    return ownAnswers.unreachable(`The TLS certificate of the upstream ${host} was not accepted (${code}): ${mend}.`);
  }
  return ownAnswers.unreachable(`The upstream ${host} could not be called (${code}): ${check}.`);
}
