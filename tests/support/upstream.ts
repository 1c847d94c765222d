import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";

/** A request as a scripted upstream received it. */
export type Received = {
  method: string;
  target: string;
  rawHeaders: string[];
  headers: IncomingMessage["headers"];
  body: Buffer;
};

export type ScriptedUpstream = { url: string; received: Received[]; close(): Promise<void> };

/** An upstream that collects each request and answers as told: for answers that no well-behaved API would give. */
export async function startUpstream(
  answer: (res: ServerResponse, request: Received, req: IncomingMessage) => void,
): Promise<ScriptedUpstream> {
  const received: Received[] = [];
  const server = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk: Buffer) => chunks.push(chunk));
    req.on("error", () => {});
    req.on("end", () => {
      const { method = "", url = "", rawHeaders, headers } = req;
      const request = { method, target: url, rawHeaders, headers, body: Buffer.concat(chunks) };
      received.push(request);
      answer(res, request, req);
    });
  });
  return { url: await listen(server), received, close: () => closeServer(server) };
}

/** An upstream that sees each request as it arrives, unread: for uploads, hang-ups and slow answers. */
export async function startLiveUpstream(
  answer: (req: IncomingMessage, res: ServerResponse) => void,
): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer({ requestTimeout: 0 }, answer);
  return { url: await listen(server), close: () => closeServer(server) };
}

/** An upstream that writes raw bytes to its socket once a request's head has arrived. */
export async function startRawUpstream(
  answer: (socket: Socket, head: string) => void,
): Promise<{ url: string; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    let head = "";
    socket.on("data", (chunk) => {
      head += chunk.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      answer(socket, head);
      head = "";
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${port}`, close };
}

/** A Messages stream as the API sends it, one string per event. */
export function messageEvents(
  text: readonly string[],
  usage: { model?: string; start?: object; delta?: object; stopReason?: string } = {},
): string[] {
  const start = { input_tokens: 25, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 1 };
  const message = {
    id: "msg_01",
    type: "message",
    role: "assistant",
    model: usage.model ?? "claude-opus-5-5",
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: usage.start ?? start,
  };
  const events: [string, object][] = [
    ["message_start", { message }],
    ["content_block_start", { index: 0, content_block: { type: "text", text: "" } }],
    ["ping", {}],
    ...text.map((part): [string, object] => [
      "content_block_delta",
      { index: 0, delta: { type: "text_delta", text: part } },
    ]),
    ["content_block_stop", { index: 0 }],
    [
      "message_delta",
      {
        delta: { stop_reason: usage.stopReason ?? "end_turn", stop_sequence: null },
        usage: usage.delta ?? { output_tokens: 15 },
      },
    ],
    ["message_stop", {}],
  ];
  return events.map(([type, rest]) => `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`);
}

/** A plain Messages answer. */
export function messageAnswer(
  usage: object = { input_tokens: 12, output_tokens: 7 },
  more: object = {},
): Record<string, unknown> {
  return {
    id: "msg_01",
    type: "message",
    role: "assistant",
    model: "claude-opus-5-5",
    content: [{ type: "text", text: "Hello." }],
    stop_reason: "end_turn",
    stop_sequence: null,
    usage,
    ...more,
  };
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
