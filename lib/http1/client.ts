import { connect as connectTcp, isIP, type OnReadOpts, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Connection, type ConnectionOptions } from "./connection.ts";
import { Http1Error } from "./errors.ts";
import type { Http1Request } from "./request.ts";
import type { ResponseHandler } from "./response-handler.ts";
import { Transfer } from "./transfer.ts";

export type ClientOptions = {
  /** To a connection, TLS included. */
  connectMs: number;
  /** From the sent request to the answer's head. After that nothing is timed. */
  headersMs: number;
  /** The longest that an idle connection is kept; shorter where the server says so. */
  keepAliveMs: number;
};

const TCP_KEEP_ALIVE_MS = 60_000;
const SWEEP_MS = 1_000;

/**
 * HTTP/1.1 to one origin, for a gateway: what it is given goes out, and what comes is handed on, byte for byte and as it
 * comes. Connections are as many as there are open requests; those that fall idle are used again, the last first.
 * Nothing is retried, redirected or decoded.
 */
export class Http1Client {
  readonly #url: URL;
  readonly #options: ClientOptions;
  readonly #connections = new Set<Connection>();
  readonly #idle: Connection[] = [];
  readonly #connectionOptions: ConnectionOptions;
  #tlsSession: Buffer | undefined;
  #sweep: NodeJS.Timeout | null = null;
  #isClosing = false;
  #onEmpty: (() => void) | null = null;

  /** `origin`: `http://host:port` or `https://…`. */
  constructor(origin: string, options: ClientOptions) {
    this.#url = new URL(origin);
    this.#options = options;
    this.#connectionOptions = {
      openEvent: this.#url.protocol === "https:" ? "secureConnect" : "connect",
      connectMs: options.connectMs,
      keepAliveMs: options.keepAliveMs,
      onFree: (connection) => this.#freed(connection),
      onClose: (connection) => this.#closed(connection),
    };
  }

  /** Sends a request. The handler hears of everything that goes wrong, perhaps before this returns; nothing is thrown. */
  dispatch(request: Http1Request, handler: ResponseHandler): void {
    try {
      if (this.#isClosing) throw new Http1Error("HTTP1_DESTROYED", "the client is closed");
      const headersMs = request.headersMs ?? this.#options.headersMs;
      const transfer = new Transfer(request, this.#url.host, headersMs, handler);
      (this.#takeIdle() ?? this.#open()).carry(transfer);
    } catch (error) {
      const { body } = request;
      if (body !== null && "destroy" in body) body.destroy();
      handler.onError(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Takes no more requests, and resolves once the last has ended. */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const connection of [...this.#idle]) connection.destroy(null);
    await this.#empty();
  }

  /** Ends every connection, used or not. */
  async destroy(): Promise<void> {
    this.#isClosing = true;
    for (const connection of [...this.#connections]) {
      connection.destroy(new Http1Error("HTTP1_DESTROYED", "the client is closed"));
    }
    await this.#empty();
  }

  async #empty(): Promise<void> {
    if (this.#sweep !== null) clearInterval(this.#sweep);
    if (this.#connections.size === 0) return;
    const before = this.#onEmpty;
    await new Promise<void>((resolve) => {
      this.#onEmpty = () => {
        before?.();
        resolve();
      };
    });
  }

  #takeIdle(): Connection | undefined {
    const connection = this.#idle.pop();
    if (connection === undefined || connection.isUsable(performance.now())) return connection;
    connection.destroy(null);
    return this.#takeIdle();
  }

  #open(): Connection {
    const connection = new Connection((onread) => this.#connect(onread), this.#connectionOptions);
    this.#connections.add(connection);
    return connection;
  }

  #connect(onread: OnReadOpts): Socket {
    const { hostname, port, protocol } = this.#url;
    const host = hostname.replace(/^\[|\]$/g, "");
    const shared = { host, onread, noDelay: true, keepAlive: true, keepAliveInitialDelay: TCP_KEEP_ALIVE_MS };
    if (protocol !== "https:") return connectTcp({ ...shared, port: Number(port || 80) });
    const socket = connectTls({
      ...shared,
      port: Number(port || 443),
      servername: isIP(host) === 0 ? host : "",
      ALPNProtocols: ["http/1.1"],
      ...(this.#tlsSession ? { session: this.#tlsSession } : {}),
    });
    socket.on("session", (session) => {
      this.#tlsSession = session;
    });
    return socket;
  }

  #freed(connection: Connection): void {
    if (this.#isClosing) {
      connection.destroy(null);
      return;
    }
    this.#idle.push(connection);
    this.#sweep ??= setInterval(() => this.#endIdle(), SWEEP_MS).unref();
  }

  #endIdle(): void {
    const nowMs = performance.now();
    for (const connection of [...this.#idle]) if (!connection.isUsable(nowMs)) connection.destroy(null);
    if (this.#idle.length > 0 || this.#sweep === null) return;
    clearInterval(this.#sweep);
    this.#sweep = null;
  }

  #closed(connection: Connection): void {
    this.#connections.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    if (this.#connections.size === 0) this.#onEmpty?.();
  }
}
