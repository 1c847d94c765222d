import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, onTestFinished, test } from "vitest";
import { openDoor } from "../support/gateway.ts";
import { messageEvents, startLiveUpstream, startRawUpstream, startUpstream } from "../support/upstream.ts";

/** What only the Node door can do: the Fetch standard has no words for it. */

const MESSAGES = JSON.stringify({ model: "claude-opus-5-5", max_tokens: 5, messages: [] });

async function open(upstream: { url: string; close(): Promise<void> }, options: Parameters<typeof openDoor>[2] = {}) {
  onTestFinished(upstream.close);
  const gateway = await openDoor("socket", upstream.url, options);
  onTestFinished(gateway.close);
  return gateway;
}

test("request headers keep spelling, order and duplicates; those of the connection stay behind", async () => {
  const upstream = await startUpstream((res) => res.end("{}"));
  const { url } = await open(upstream);
  const socket = await dial(url);
  socket.write(
    [
      "POST /v1/messages HTTP/1.1",
      "Host: headroom.example",
      "Connection: keep-alive, X-Hop , close",
      "X-Hop: not for you",
      "Keep-Alive: timeout=5",
      "Proxy-Authorization: Basic abc",
      "TE: trailers",
      "Upgrade: websocket",
      "Expect: 100-continue",
      "X-Headroom-Class: high",
      "Cookie: headroom_session=abc; cf=1",
      "X-Stainless-Lang: js",
      "anthropic-BETA: one",
      "anthropic-BETA: two",
      "X-Latin: caf\u00e9",
      `Content-Length: ${MESSAGES.length}`,
      "X-Api-Key: sk-ant-mine",
      "",
      MESSAGES,
    ].join("\r\n"),
    "latin1",
  );
  // First comes "100 Continue", which this server says itself.
  let text = "";
  while (!text.includes(" 200 ")) text += String((await once(socket, "data"))[0]);
  socket.destroy();
  const raw = upstream.received[0]?.rawHeaders ?? [];
  const pairs = raw.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${raw[at + 1]}`] : []));
  expect(pairs).toEqual([
    `host: ${new URL(upstream.url).host}`,
    "connection: keep-alive",
    "Cookie: cf=1",
    "X-Stainless-Lang: js",
    "anthropic-BETA: one",
    "anthropic-BETA: two",
    "X-Latin: caf\u00e9",
    "X-Api-Key: sk-ant-mine",
    `content-length: ${MESSAGES.length}`,
  ]);
});

test("answer headers keep spelling, order and duplicates; those of the connection stay behind", async () => {
  const upstream = await startRawUpstream((socket) =>
    socket.write(
      "HTTP/1.1 299 Quite OK\r\nX-Odd: 1\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\nX-Odd: 2\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nX-Latin: caf\u00e9\r\ndate: Mon, 23 Nov 2026 08:00:00 GMT\r\nContent-Length: 2\r\n\r\n{}",
      "latin1",
    ),
  );
  const { url, records } = await open(upstream);
  const answer = await send(url, { method: "GET", path: "/v1/models" });
  expect(answer.statusCode).toBe(299);
  expect(answer.statusMessage).toBe("Quite OK");
  const call = await records.only();
  expect(answer.rawHeaders.slice(0, 18)).toEqual(
    [
      ["X-Odd", "1"],
      ["set-cookie", "a=1"],
      ["Set-Cookie", "b=2"],
      ["X-Odd", "2"],
      ["X-Latin", "caf\u00e9"],
      ["date", "Mon, 23 Nov 2026 08:00:00 GMT"],
      ["Content-Length", "2"],
      ["x-headroom-call", call.id],
      ["x-headroom-upstream", "anthropic"],
    ].flat(),
  );
});

test("interim answers and trailers come through", async () => {
  const upstream = await startRawUpstream((socket) =>
    socket.write(
      "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: 77\r\nConnection: close\r\nContent-Length: 9\r\n\r\n",
    ),
  );
  const { url } = await open(upstream);
  const informed: number[] = [];
  const answer = await send(url, { method: "GET", path: "/v1/models" }, "", (status) => informed.push(status));
  expect(informed).toEqual([103, 102]);
  expect(answer.body).toBe("{}");
  expect(answer.trailers).toEqual({ "x-sum": "77" });
});

test("HEAD, 204 and 304 have no body and end at once", async () => {
  const upstream = await startRawUpstream((socket, head) => {
    const status = /x-want: (\d+)/i.exec(head)?.[1] ?? "200";
    socket.write(`HTTP/1.1 ${status} X\r\ncontent-length: ${status === "204" ? 0 : 44}\r\ntrailer: x-sum\r\n\r\n`);
  });
  const { url, records } = await open(upstream);
  for (const want of ["200", "204", "304"]) {
    const method = want === "200" ? "HEAD" : "GET";
    const answer = await send(url, { method, path: "/v1/models", headers: { "x-want": want } });
    expect(answer.body).toBe("");
    if (want !== "204") expect(answer.headers["content-length"]).toBe("44");
  }
  expect(records.calls.map((call) => call.outcome)).toEqual(["succeeded", "succeeded", "succeeded"]);
});

test("a client of HTTP/1.0 gets a stream without chunks, and a reset when it is cut", async () => {
  const events = messageEvents(["Hello"]).join("");
  let cut = false;
  const upstream = await startLiveUpstream((req, res) => {
    req.resume();
    res.writeHead(200, { "content-type": "text/event-stream", trailer: "x-sum" });
    res.write(events, () => {
      if (cut) res.destroy();
      else res.end();
    });
  });
  const { url } = await open(upstream);
  const ask = async () => {
    const socket = await dial(url);
    let text = "";
    let fault: string | undefined;
    socket.on("data", (chunk) => {
      text += chunk.toString();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      fault = error.code;
    });
    socket.write(`POST /v1/messages HTTP/1.0\r\ncontent-length: ${MESSAGES.length}\r\n\r\n${MESSAGES}`);
    await new Promise((resolve) => socket.once("close", resolve));
    return { body: text.split("\r\n\r\n")[1], fault };
  };
  expect(await ask()).toEqual({ body: events, fault: undefined });
  cut = true;
  expect((await ask()).fault).toBe("ECONNRESET");
});

test("chunks of a stream come through at every border at which the upstream may split it", async () => {
  const bytes = Buffer.from(messageEvents(["Grüße 😀", "x"]).join(""));
  let size = 1;
  const upstream = await startRawUpstream((socket) => {
    socket.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    for (let at = 0; at < bytes.length; at += size) {
      const part = bytes.subarray(at, at + size);
      socket.write(Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n")]));
    }
    socket.write("0\r\n\r\n");
  });
  const { url, records } = await open(upstream);
  for (size of [1, 2, 3, 5, 17, 64, 255]) {
    const answer = await send(url, { method: "POST", path: "/v1/messages" }, MESSAGES);
    expect(answer.body).toBe(bytes.toString());
  }
  for (const call of records.calls)
    expect(call).toMatchObject({ outcome: "succeeded", inputTokens: 25, outputTokens: 15 });
  expect(records.calls).toHaveLength(7);
});

test("an answer without a length ends where the upstream's connection does", async () => {
  const upstream = await startRawUpstream((socket) => socket.end("HTTP/1.1 200 OK\r\n\r\nall of it"));
  const { url, records } = await open(upstream);
  expect((await send(url, { method: "GET", path: "/v1/models" })).body).toBe("all of it");
  expect(await records.only()).toMatchObject({ outcome: "succeeded" });
});

test("a client that does not read holds the upstream back, and gets everything once it reads", async () => {
  const piece = randomBytes(64 * 1024);
  const total = 400;
  let produced = 0;
  const stuck = Promise.withResolvers<void>();
  const upstream = await startLiveUpstream((req, res) => {
    req.resume();
    const produce = () => {
      while (produced < total) {
        produced += 1;
        if (!res.write(piece)) {
          res.once("drain", produce);
          stuck.resolve();
          return;
        }
      }
      res.end();
    };
    produce();
  });
  const { url } = await open(upstream);
  const socket = await dial(url);
  socket.pause();
  socket.write("GET /v1/files/f/content HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  await stuck.promise;
  const held = await settled(() => produced);
  // 25 MB are to be sent; what fits into socket buffers on the way is a part of that.
  expect(held).toBeLessThan(total);
  let received = 0;
  socket.on("data", (chunk: Buffer) => {
    received += chunk.length;
  });
  socket.resume();
  await once(socket, "close");
  expect(produced).toBe(total);
  expect(received).toBeGreaterThan(total * piece.length);
});

test("an upload is held back by an upstream that does not read, and memory stays flat", async () => {
  const piece = Buffer.alloc(64 * 1024, "u");
  const total = 3_200; // 200 MB
  let read = 0;
  const arrived = Promise.withResolvers<IncomingMessage>();
  const upstream = await startLiveUpstream((req, res) => {
    req.pause();
    req.on("end", () => res.end(String(read)));
    arrived.resolve(req);
  });
  const { url, records } = await open(upstream);
  const socket = await dial(url);
  socket.write(`POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: ${total * piece.length}\r\n\r\n`);
  let sent = 0;
  const feed = () => {
    while (sent < total) {
      sent += 1;
      if (!socket.write(piece)) {
        socket.once("drain", feed);
        return;
      }
    }
  };
  feed();
  const req = await arrived.promise;
  expect(await settled(() => sent)).toBeLessThan(total / 4);

  const before = process.memoryUsage().arrayBuffers;
  let peak = 0;
  req.on("data", (chunk: Buffer) => {
    read += chunk.length;
    peak = Math.max(peak, process.memoryUsage().arrayBuffers);
  });
  req.resume();
  const [answer] = await once(socket, "data");
  expect(String(answer)).toContain(`${total * piece.length}`);
  expect(peak - before).toBeLessThan(100 * 1024 * 1024);
  expect(await records.only()).toMatchObject({ endpoint: "/v1/files", outcome: "succeeded" });
  socket.destroy();
});

test("an open stream does not keep its prompt in memory", async () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage: () => void = runInNewContext("gc");
  const upstream = await startLiveUpstream((req, res) => {
    req.resume();
    req.on("end", () => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write(messageEvents([])[0]);
    });
  });
  const { url, gateway } = await open(upstream);
  const before = process.memoryUsage().arrayBuffers;
  const begin = () =>
    new Promise<void>((resolve) => {
      const req = httpRequest(`${url}/v1/messages`, { method: "POST" }, (res) => {
        res.on("error", () => {});
        res.once("data", () => resolve());
      });
      req.on("error", () => {});
      req.end(JSON.stringify({ model: "claude-opus-5-5", system: "s".repeat(1_000_000) }));
    });
  for (let index = 0; index < 40; index += 1) await begin();
  await settled(() => gateway.openCalls);
  collectGarbage();
  expect(gateway.openCalls).toBe(40);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(12 * 1024 * 1024);
});

test("an upstream may answer before an upload has ended, and the connection lives on", async () => {
  const upstream = await startLiveUpstream((req, res) => {
    req.on("error", () => {});
    res.writeHead(413, { "content-type": "application/json" });
    res.end(`{"type":"error","error":{"type":"request_too_large","message":"Too large"}}`);
  });
  const { url, records } = await open(upstream);
  const socket = await dial(url);
  socket.write("POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nabc");
  const [answer] = await once(socket, "data");
  expect(String(answer)).toContain("413 ");
  expect(await records.only()).toMatchObject({ status: 413, refusal: "too_large" });
  socket.write(Buffer.alloc(999_997, "x"));
  socket.write("GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n");
  let text = "";
  while (!text.includes("413 ")) text += String((await once(socket, "data"))[0]);
  socket.destroy();
});

test("many calls at once on one gateway do not mix", async () => {
  const upstream = await startUpstream((res, { body }) => {
    const { max_tokens: number } = JSON.parse(body.toString());
    res.writeHead(200, { "content-type": "text/event-stream" });
    const events = messageEvents([`n${number}`], { delta: { output_tokens: number } });
    void (async () => {
      for (const event of events) {
        res.write(event);
        await turn();
      }
      res.end();
    })();
  });
  const { url, records, gateway } = await open(upstream);
  const numbers = Array.from({ length: 150 }, (_, index) => index + 100);
  await Promise.all(
    numbers.map(async (number) => {
      const body = JSON.stringify({ model: "claude-opus-5-5", max_tokens: number, stream: true });
      const answer = await send(url, { method: "POST", path: "/v1/messages" }, body);
      expect(answer.body).toContain(`"text":"n${number}"`);
    }),
  );
  expect(records.calls.map((call) => call.outputTokens).sort((a, b) => a - b)).toEqual(numbers);
  expect(new Set(records.calls.map((call) => call.id)).size).toBe(150);
  expect(gateway.openCalls).toBe(0);
});

test("what the client has whole is recorded, even if the process is killed at that moment", async () => {
  // The record must be there when the last bytes leave, so it is looked at from inside the very write.
  const [firstEvent = "", ...otherEvents] = messageEvents(["Hello"]);
  const hasFirst = Promise.withResolvers<void>();
  const upstream = await startUpstream((res, { headers }) => {
    if (headers["x-want"] === "stream") {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write(firstEvent);
      void hasFirst.promise.then(() => res.end(otherEvents.join("")));
    } else {
      res.writeHead(200, { "content-type": "application/json", "content-length": "2" });
      res.end("{}");
    }
  });
  onTestFinished(upstream.close);
  const door = await openDoor("socket", upstream.url);
  onTestFinished(door.close);
  const seen: string[] = [];
  const server = createServer((req, res) => {
    const write = res.write.bind(res);
    res.write = ((chunk: Buffer, ...rest: []) => {
      seen.push(`${door.records.calls.length} recorded: ${chunk.toString().slice(0, 20)}`);
      hasFirst.resolve();
      return write(chunk, ...rest);
    }) as typeof res.write;
    door.gateway.handleNode(req, res);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
  });
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  await send(url, { method: "POST", path: "/v1/messages", headers: { "x-want": "stream" } }, MESSAGES);
  expect(seen.at(-1)).toContain("1 recorded");
  expect(seen[0]).toContain("0 recorded");
  await send(url, { method: "POST", path: "/v1/messages" }, MESSAGES);
  expect(seen.at(-1)).toContain("2 recorded: {}");
});

type Answer = {
  statusCode: number | undefined;
  statusMessage: string | undefined;
  headers: IncomingMessage["headers"];
  rawHeaders: string[];
  trailers: IncomingMessage["trailers"];
  body: string;
};

function send(
  url: string,
  options: { method: string; path: string; headers?: Record<string, string> },
  body = "",
  onInformation: (status: number) => void = () => {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = httpRequest(url, options, (res) => {
      const chunks: Buffer[] = [];
      res.on("data", (chunk: Buffer) => chunks.push(chunk));
      res.on("error", reject);
      res.on("end", () => {
        const { statusCode, statusMessage, headers, rawHeaders, trailers } = res;
        resolve({ statusCode, statusMessage, headers, rawHeaders, trailers, body: Buffer.concat(chunks).toString() });
      });
    });
    req.on("information", ({ statusCode }) => onInformation(statusCode));
    req.on("error", reject);
    req.end(body);
  });
}

async function dial(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** A count once it has stopped moving for many turns of the event loop. */
async function settled(read: () => number): Promise<number> {
  let last = read();
  for (let still = 0; still < 200; still += 1) {
    await turn();
    if (read() !== last) still = 0;
    last = read();
  }
  return last;
}
