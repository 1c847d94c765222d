import { Readable } from "node:stream";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import { CollectedBody } from "./collected-body.ts";
import { GrowingBody } from "./growing-body.ts";
import type { CallTaker } from "./node-door.ts";
import type { Arrival, ArrivalBody, Sink } from "./sink.ts";

/** Of an answer as much may lie unread. */
const ROOM_BYTES = 64 * 1024;
const CLIENT_LEFT = 499;

/**
 * Serves one `Request`. Slower than the Node door, and with what the Fetch standard leaves out: no interim answers, no
 * trailers, header names in lower case. The promise settles when the answer's head is known.
 */
export function handleWeb(request: Request, calls: CallTaker): Promise<Response> {
  return new Promise((resolve, reject) => {
    const url = new URL(request.url);
    const body = new WebBody(request);
    const rawHeaders: string[] = [];
    for (const [name, value] of request.headers) {
      // The framework in front adds these; they tell of its own network and were not said by the client.
      if (!name.startsWith("x-forwarded-")) rawHeaders.push(name, value);
    }
    const arrival: Arrival = {
      ...{ method: request.method, target: url.pathname + url.search, rawHeaders, body },
      scheme: url.protocol.slice(0, -1),
    };
    const sink = new WebSink(request, resolve, reject);
    const exchange = calls.accept(arrival, sink);
    sink.client = exchange;
    request.signal.addEventListener("abort", () => exchange.cut());
    if (request.signal.aborted) exchange.cut();
    else calls.run(exchange);
  });
}

class WebBody implements ArrivalBody {
  readonly #stream: Readable | null;

  constructor(request: Request) {
    // The two declarations of ReadableStream, the DOM's and Node's, describe one object.
    this.#stream = isEmpty(request) ? null : Readable.fromWeb(request.body as NodeReadableStream<Uint8Array>);
    this.#stream?.on("error", () => {});
  }

  collect(maxBytes: number, done: (body: CollectedBody | null) => void): void {
    if (this.#stream === null) {
      done(new CollectedBody([]));
      return;
    }
    const body = new GrowingBody(maxBytes);
    this.#stream.on("data", (chunk: Uint8Array) => {
      if (body.push(chunk)) done(null);
    });
    this.#stream.on("end", () => {
      if (!body.isTooLong) done(body.take());
    });
  }

  stream(): Readable | null {
    return this.#stream;
  }

  discard(): void {
    this.#stream?.resume();
  }
}

/** Next gives every request but GET and HEAD a body, and a body of unknown length would go out in chunks. */
function isEmpty({ body, headers, method }: Request): boolean {
  if (body === null) return true;
  const length = headers.get("content-length");
  if (length !== null || headers.has("transfer-encoding")) return length === "0";
  return method === "DELETE" || method === "OPTIONS";
}

type Client = { resume(): void; hangUp(): void };

class WebSink implements Sink {
  client: Client | null = null;
  /** Held while the call is open: a Request that is collected as garbage no longer tells that its client has left. */
  readonly #request: Request;
  readonly #resolve: (response: Response) => void;
  readonly #reject: (error: Error) => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #hasStarted = false;
  #hasWritten = false;
  #fault: Error | null = null;

  constructor(request: Request, resolve: (response: Response) => void, reject: (error: Error) => void) {
    this.#request = request;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  inform(): void {}

  start(status: number, reason: string, rawHeaders: string[]): void {
    const headers = new Headers();
    for (let at = 0; at + 1 < rawHeaders.length; at += 2)
      headers.append(rawHeaders[at] ?? "", rawHeaders[at + 1] ?? "");
    const hasBody = this.#request.method !== "HEAD" && status !== 204 && status !== 205 && status !== 304;
    const response = new Response(hasBody ? this.#body() : null, { status, statusText: reason, headers });
    keepFraming(response.headers);
    this.#hasStarted = true;
    this.#resolve(response);
    // Frameworks send the head with the body's first chunk: where that takes its time, an empty one goes before it.
    process.nextTick(() => this.#sendHead());
  }

  write(chunk: Buffer): boolean {
    this.#hasWritten = true;
    if (this.#controller === null) return true;
    this.#controller.enqueue(chunk);
    return (this.#controller.desiredSize ?? 0) > 0;
  }

  end(): void {
    this.#controller?.close();
    this.#controller = null;
  }

  cut(): void {
    // By this name frameworks know what they need not report.
    this.#fault = new DOMException("the answer was cut off", "AbortError");
    if (!this.#hasStarted) this.#giveUp(this.#fault);
    this.#sendHead();
    this.#failWhenEmpty();
  }

  /** Nobody reads what a client gets that has left, but a rejection would be reported as a fault. */
  #giveUp(fault: Error): void {
    if (this.#request.signal.aborted) this.#resolve(new Response(null, { status: CLIENT_LEFT }));
    else this.#reject(fault);
  }

  #sendHead(): void {
    if (!this.#hasWritten) this.write(Buffer.alloc(0));
  }

  /** What was forwarded still arrives: a stream that fails drops what lies in it, and the connection what is on its way. */
  #failWhenEmpty(): void {
    if (this.#controller?.desiredSize !== ROOM_BYTES) return;
    setImmediate(() => {
      if (this.#fault) this.#controller?.error(this.#fault);
    });
  }

  #body(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => {
          if (this.#fault) this.#failWhenEmpty();
          else this.client?.resume();
        },
        cancel: () => {
          this.#controller = null;
          this.client?.hangUp();
        },
      },
      { highWaterMark: ROOM_BYTES, size: (chunk) => Math.max(chunk.byteLength, 1) },
    );
  }
}

/**
 * Next copies an answer's headers by `forEach` and drops these two, for it takes them for leftovers of a body that was
 * decoded on the way. It goes by the spelling; the body here is as encoded, and as long, as they say.
 */
function keepFraming(headers: Headers): void {
  const spelled: Record<string, string> = {
    "content-encoding": "Content-Encoding",
    "content-length": "Content-Length",
  };
  Object.defineProperty(headers, "forEach", {
    value(this: Headers, each: (value: string, name: string, headers: Headers) => void, self?: unknown) {
      for (const [name, value] of this) each.call(self, value, spelled[name] ?? name, this);
    },
  });
}
