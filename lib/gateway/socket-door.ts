import type { Server } from "node:http";
import type { Socket } from "node:net";
import { type PlainRequest, parsePlainRequest } from "../http1/plain-request.ts";
import { Register } from "../kit/register.ts";
import type { CallTaker } from "./node-door.ts";
import { SocketCall } from "./socket-call.ts";
import { type Heard, hasStalled } from "./upload-watch.ts";

/** A request that was sent in the last moment of the time that clients are told still meets an open connection. */
const IDLE_MARGIN_MS = 1_000;
/** What a client may send ahead while its call is under way. */
const MAX_AHEAD_BYTES = 64 * 1024;

/**
 * The fast door: reads agents' calls from a Node HTTP server's own connections and writes their answers, without the
 * objects that Node makes of a request and a response. A connection goes to Node's parser, and stays there, with the
 * first request on it that is not plain or not an agent's.
 */
export class SocketDoor {
  readonly connections = new Register<SocketConnection>();
  readonly #toNode: (socket: Socket, ahead: Buffer) => void;
  readonly #idleMs: number;
  readonly #stallMs: number;
  /** Null while nobody serves calls. */
  calls: CallTaker | null = null;
  isClosing = false;
  /** How long clients are told that an idle connection is kept. */
  readonly keepAliveS: number;

  constructor(server: Server, { idleMs, stallMs }: { idleMs: number; stallMs: number }) {
    this.#idleMs = idleMs;
    this.#stallMs = stallMs;
    this.keepAliveS = Math.floor(idleMs / 1000);
    const listeners = server.listeners("connection");
    server.removeAllListeners("connection");
    server.on("connection", (socket: Socket) => {
      new SocketConnection(this, socket);
    });
    this.#toNode = (socket, ahead) => {
      for (const listener of listeners) listener.call(server, socket);
      socket.emit("data", ahead);
    };
  }

  handOver(socket: Socket, ahead: Buffer): void {
    this.#toNode(socket, ahead);
  }

  /** Ends connections that were idle for too long, and those whose clients do not send what they owe. */
  sweep(nowMs: number): void {
    this.#endIdle(nowMs - this.#idleMs - IDLE_MARGIN_MS);
    for (const connection of this.connections.all()) {
      if (connection.owesTooLong(nowMs, this.#stallMs)) connection.socket.destroy();
    }
  }

  /** Ends connections without a call now, and all others with theirs. */
  closeIdleConnections(): void {
    this.isClosing = true;
    this.#endIdle(Number.POSITIVE_INFINITY);
  }

  closeAllConnections(): void {
    for (const connection of this.connections.all()) connection.socket.destroy();
  }

  #endIdle(beforeMs: number): void {
    for (const { socket, idleSinceMs } of this.connections.all()) {
      if (idleSinceMs !== null && idleSinceMs < beforeMs) socket.destroy();
    }
  }
}

class SocketConnection {
  readonly socket: Socket;
  readonly #door: SocketDoor;
  readonly #id: number;
  #call: SocketCall | null = null;
  /** What came behind the request that is under way. */
  #ahead: Buffer | null = null;
  readonly #heard: Heard = { bytes: -1, atMs: 0 };
  /** Null while it carries a call. */
  idleSinceMs: number | null = performance.now();

  constructor(door: SocketDoor, socket: Socket) {
    this.#door = door;
    this.socket = socket;
    this.#id = door.connections.add(this);
    socket.on("data", this.#onData);
    socket.on("drain", this.#onDrain);
    socket.on("end", this.#onEnd);
    socket.on("error", ignore);
    socket.on("close", this.#onClose);
  }

  owesTooLong(nowMs: number, stallMs: number): boolean {
    const { socket } = this;
    // Paused: it is the upstream that does not take more.
    if (this.#call === null || this.#call.bodyLeft === 0 || socket.isPaused()) {
      this.#heard.bytes = -1;
      return false;
    }
    return hasStalled(socket.bytesRead, this.#heard, nowMs, stallMs);
  }

  readonly #onData = (bytes: Buffer) => {
    if (this.#call === null) this.#begin(bytes, true);
    else this.#feed(this.#call, bytes);
  };

  readonly #onDrain = () => this.#call?.drained();

  /** A client that closes its side has left, as Node's server takes it too. */
  readonly #onEnd = () => {
    this.socket.end();
  };

  readonly #onClose = () => {
    this.#door.connections.delete(this.#id);
    const call = this.#call;
    this.#call = null;
    this.#ahead = null;
    call?.closed();
  };

  /** `isWhole`: the bytes are all that stands in their memory, and no other call's. */
  #begin(bytes: Buffer, isWhole: boolean): void {
    const { calls, isClosing, keepAliveS: idleS } = this.#door;
    const request = calls === null ? null : parsePlainRequest(bytes);
    if (calls === null || request === null || !request.target.startsWith("/v1/")) {
      this.#handOver(bytes);
      return;
    }
    this.idleSinceMs = null;
    const keepAliveS = request.keepsAlive && !isClosing ? idleS : null;
    const call = new SocketCall(this.socket, request, { keepAliveS, ownsBody: isWhole }, () =>
      this.#done(keepAliveS !== null),
    );
    this.#call = call;
    run(calls, call, request);
    if (request.bodyAt < bytes.length) this.#feed(call, bytes.subarray(request.bodyAt));
  }

  #feed(call: SocketCall, bytes: Buffer): void {
    const { bodyLeft } = call;
    if (bytes.length > bodyLeft) this.#keep(bytes.subarray(bodyLeft));
    if (bodyLeft > 0) call.feed(bytes.subarray(0, bodyLeft));
  }

  #keep(bytes: Buffer): void {
    this.#ahead = this.#ahead === null ? bytes : Buffer.concat([this.#ahead, bytes]);
    if (this.#call === null) this.#goOn();
    else if (this.#ahead.length > MAX_AHEAD_BYTES) this.socket.pause();
  }

  #done(keepsAlive: boolean): void {
    this.#call = null;
    if (!keepsAlive || this.#door.isClosing) {
      this.socket.destroySoon();
      return;
    }
    this.idleSinceMs = performance.now();
    if (this.#ahead !== null) this.#goOn();
  }

  /** In a turn of its own, for the call before it may still be at work. */
  #goOn(): void {
    setImmediate(() => {
      const ahead = this.#ahead;
      if (this.#call !== null || ahead === null || this.socket.destroyed) return;
      this.#ahead = null;
      this.socket.resume();
      this.#begin(ahead, false);
    });
  }

  #handOver(bytes: Buffer): void {
    const { socket } = this;
    this.#door.connections.delete(this.#id);
    socket.off("data", this.#onData);
    socket.off("drain", this.#onDrain);
    socket.off("end", this.#onEnd);
    socket.off("error", ignore);
    socket.off("close", this.#onClose);
    this.#door.handOver(socket, bytes);
  }
}

function run(calls: CallTaker, call: SocketCall, { method, target, rawHeaders }: PlainRequest): void {
  const arrival = { method, target, rawHeaders: rawHeaders as readonly string[], body: call };
  const exchange = calls.accept(arrival, call);
  // It has read them. Calls may wait by the thousand, and of what each of them keeps its headers are the largest part.
  arrival.rawHeaders = [];
  call.exchange = exchange;
  calls.run(exchange);
}

function ignore(): void {
  // What ends a connection is told by "close".
}
