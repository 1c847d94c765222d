import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import type { CollectedBody } from "./collected-body.ts";
import type { Exchange } from "./exchange.ts";
import { GrowingBody } from "./growing-body.ts";
import type { Arrival, ArrivalBody, Sink } from "./sink.ts";

/** How a door hands calls in: first it makes the exchange, then, once it can tell of its client, it lets it run. */
export type CallTaker = { accept(arrival: Arrival, sink: Sink): Exchange; run(exchange: Exchange): void };

/** Serves one request of a Node HTTP server. */
export function handleNode(req: IncomingMessage, res: ServerResponse, calls: CallTaker): void {
  const { method = "GET", url = "/", rawHeaders } = req;
  const arrival = { method, target: originForm(url), rawHeaders, body: new NodeBody(req) };
  const exchange = calls.accept(arrival, new NodeSink(req, res));
  // It has read them. Calls may wait by the thousand, and of what each of them keeps its headers are the largest part.
  arrival.rawHeaders = [];
  req.rawHeaders = arrival.rawHeaders;
  req.headers = {};
  res.on("drain", () => exchange.resume());
  res.on("close", () => exchange.hangUp());
  // A write that meets a closed connection: "close" tells the same.
  res.on("error", () => {});
  calls.run(exchange);
}

/** A server must also take the absolute form of a target, though only clients of proxies send it (RFC 9112, 3.2.2). */
export function originForm(target: string): string {
  const path = target.startsWith("/") ? undefined : /^https?:\/\/[^/?#]*(\/.*)$/i.exec(target)?.[1];
  return path ?? target;
}

class NodeBody implements ArrivalBody {
  readonly #req: IncomingMessage;
  readonly #isEmpty: boolean;

  constructor(req: IncomingMessage) {
    this.#req = req;
    this.#isEmpty = !announcesBody(req.rawHeaders);
  }

  collect(maxBytes: number, done: (body: CollectedBody | null) => void): void {
    const req = this.#req;
    const body = new GrowingBody(maxBytes);
    req.on("data", (chunk: Buffer) => {
      if (body.push(chunk)) done(null);
    });
    req.on("end", () => {
      if (!body.isTooLong) done(body.take());
    });
  }

  stream(): Readable | null {
    return this.#isEmpty ? null : new Upload(this.#req);
  }

  discard(): void {
    if (!this.#req.readableEnded) this.#req.resume();
  }
}

/** By RFC 9112, 6.3. Node would build all headers anew to tell two of them. */
function announcesBody(rawHeaders: readonly string[]): boolean {
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (name.length === 17 && name.toLowerCase() === "transfer-encoding") return true;
    if (name.length === 14 && name.toLowerCase() === "content-length") return Number(rawHeaders[at + 1]) > 0;
  }
  return false;
}

/**
 * A request's body as a stream of its own: the HTTP client destroys the body of a call that fails, and destroying the
 * request itself would take away the connection on which the failure is yet to be told.
 */
class Upload extends Readable {
  readonly #req: IncomingMessage;

  constructor(req: IncomingMessage) {
    super();
    this.#req = req;
    req.on("data", (chunk: Buffer) => {
      if (!this.destroyed && !this.push(chunk)) req.pause();
    });
    req.on("end", () => {
      if (!this.destroyed) this.push(null);
    });
    req.pause();
  }

  override _read(): void {
    this.#req.resume();
  }
}

class NodeSink implements Sink {
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  #hasWritten = false;

  constructor(req: IncomingMessage, res: ServerResponse) {
    this.#req = req;
    this.#res = res;
  }

  /**
   * Node can send two of the interim answers; others are few, and clients must do without them anyway. Of a call that
   * waits behind another on its connection Node would put them between the head of the answer and its body.
   */
  inform(status: number, rawHeaders: readonly string[]): void {
    if (this.#req.httpVersionMinor === 0 || this.#res.socket === null) return;
    if (status === 102) this.#res.writeProcessing();
    if (status !== 103) return;
    const hints: Record<string, string | string[]> = {};
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      const name = (rawHeaders[at] ?? "").toLowerCase();
      const value = rawHeaders[at + 1] ?? "";
      const before = hints[name];
      hints[name] = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value];
    }
    if (hints.link === undefined) return;
    try {
      this.#res.writeEarlyHints(hints);
    } catch {
      // A link that Node does not accept is a hint less.
    }
  }

  start(status: number, reason: string, rawHeaders: string[]): void {
    this.#res.writeHead(status, reason, this.#withoutVainTrailer(status, rawHeaders));
    // The head goes out with the first chunk when both came together, and by itself when the body takes its time.
    process.nextTick(() => {
      if (!this.#hasWritten && !this.#res.destroyed) this.#res.flushHeaders();
    });
  }

  write(chunk: Buffer): boolean {
    this.#hasWritten = true;
    return this.#res.write(chunk);
  }

  end(rawTrailers: readonly string[]): void {
    this.#hasWritten = true;
    if (rawTrailers.length > 0) this.#res.addTrailers(toPairs(rawTrailers));
    // To close while the client still uploads resets the connection, and with it goes the answer (RFC 9112, 9.6).
    if (this.#res.shouldKeepAlive || this.#req.complete) this.#res.end();
    else this.#req.once("end", () => this.#res.end());
  }

  cut(): void {
    const { socket } = this.#res;
    if (socket !== null) this.#cut(socket);
    // Pipelined behind another call that is not done: Node would forget to close the connection when the turn comes.
    else this.#res.once("socket", (own: Socket) => process.nextTick(() => this.#cut(own)));
  }

  #cut(socket: Socket): void {
    if (!this.#res.headersSent) this.#res.destroy();
    // Without chunks an HTTP/1.0 answer ends where the connection does: only a reset tells that it was cut.
    else if (this.#req.httpVersionMinor === 0) reset(socket);
    // What was forwarded still arrives; the missing last chunk, or the missing bytes, tell the rest.
    else socket.destroySoon();
  }

  /** Node refuses to announce trailers for an answer that it does not send in chunks. */
  #withoutVainTrailer(status: number, rawHeaders: string[]): string[] {
    let announced = -1;
    let isChunked = this.#req.httpVersionMinor > 0 && this.#req.method !== "HEAD" && status !== 204 && status !== 304;
    for (let at = 0; at < rawHeaders.length; at += 2) {
      const name = rawHeaders[at] ?? "";
      if (name.length === 7 && name.toLowerCase() === "trailer") announced = at;
      else if (name.length === 14 && name.toLowerCase() === "content-length") isChunked = false;
    }
    if (announced !== -1 && !isChunked) rawHeaders.splice(announced, 2);
    return rawHeaders;
  }
}

function reset(socket: Socket): void {
  try {
    socket.resetAndDestroy();
  } catch {
    // Pipes cannot be reset, and TLS tells by itself that its end was not a proper one.
    socket.destroy();
  }
}

function toPairs(rawHeaders: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) pairs.push([rawHeaders[at] ?? "", rawHeaders[at + 1] ?? ""]);
  return pairs;
}
