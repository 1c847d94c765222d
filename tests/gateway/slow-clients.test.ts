import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { DOORS, type OpenDoor, openDoor } from "../support/gateway.ts";
import { startLiveUpstream, startUpstream } from "../support/upstream.ts";

/** Clients that hold connections and do not send what they owe. */

const LATER_MS = 10 * 60_000;

async function dial(gateway: OpenDoor, text: string): Promise<Socket> {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect({ host: hostname, port: Number(port) });
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => {});
  socket.resume();
  await once(socket, "connect");
  socket.write(text);
  return socket;
}

const post = (path: string, length: number, key = "sk-ant-own") =>
  `POST ${path} HTTP/1.1\r\nHost: here\r\nx-api-key: ${key}\r\nContent-Length: ${length}\r\n\r\n`;

describe.each(DOORS)("through the %s door", (door) => {
  async function open(options: Parameters<typeof openDoor>[2] = {}) {
    const upstream = await startUpstream((res) => res.end("{}"));
    onTestFinished(upstream.close);
    const gateway = await openDoor(door, upstream.url, options);
    onTestFinished(gateway.close);
    return gateway;
  }

  /** The first time tells what has come so far, and a body is taken only some turns after its head. */
  async function sweepUntilClosed(gateway: OpenDoor, socket: Socket): Promise<void> {
    for (let times = 0; !socket.destroyed; times += 1) {
      gateway.sweep(performance.now() + times * LATER_MS);
      await new Promise(setImmediate);
    }
  }

  test("a connection that brings half a head is ended", async () => {
    const gateway = await open({ clients: { headersMs: 50, sweepMs: 10 } });
    const socket = await dial(gateway, "POST /v1/messages HTTP/1.1\r\nHost: he");
    await once(socket, "close");
  });

  test("a connection that brings nothing at all is ended", async () => {
    const gateway = await open({ clients: { headersMs: 50, idleMs: 50, sweepMs: 10 } });
    const socket = await dial(gateway, "");
    const closed = once(socket, "close");
    gateway.sweep(performance.now() + LATER_MS);
    await closed;
  });

  test.each([
    ["a call to a model", "/v1/messages"],
    ["an upload", "/v1/files"],
  ])("%s whose body stops coming is ended, and in the books as left", async (_, path) => {
    const gateway = await open();
    const socket = await dial(gateway, `${post(path, 1_000)}{`);
    while (gateway.gateway.openCalls === 0) await new Promise(setImmediate);
    await sweepUntilClosed(gateway, socket);
    expect(await gateway.records.only()).toMatchObject({ outcome: "canceled" });
    expect(gateway.gateway.openCalls).toBe(0);
  });

  test("what is left of a refused call's body is not waited for", async () => {
    const gateway = await open({ passThrough: false });
    const socket = await dial(gateway, `${post("/v1/messages", 1_000)}{`);
    await gateway.records.only();
    await sweepUntilClosed(gateway, socket);
  });

  test("an upload that waits for its upstream is left alone", async () => {
    let taking: (() => void) | null = null;
    const upstream = await startLiveUpstream((req, res) => {
      req.on("end", () => res.end("{}"));
      taking = () => void req.resume();
    });
    onTestFinished(upstream.close);
    const gateway = await openDoor(door, upstream.url);
    onTestFinished(gateway.close);
    const length = 64 * 1024 * 1024;
    const socket = await dial(gateway, post("/v1/files", length));
    // More than all buffers on the way hold: from some byte on nothing more is taken.
    const chunk = Buffer.alloc(1024 * 1024);
    for (let sent = 0; sent < length; sent += chunk.length) socket.write(chunk);
    for (let before = -1; before !== socket.bytesWritten - socket.writableLength || before <= 0; ) {
      before = socket.bytesWritten - socket.writableLength;
      for (let turn = 0; turn < 200; turn += 1) await new Promise(setImmediate);
    }
    gateway.sweep(performance.now());
    gateway.sweep(performance.now() + LATER_MS);
    expect(gateway.gateway.openCalls).toBe(1);
    while (taking === null) await new Promise(setImmediate);
    (taking as () => void)();
    expect(await gateway.records.only()).toMatchObject({ status: 200, outcome: "succeeded" });
  });
});
