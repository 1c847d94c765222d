import { connect, type Socket } from "node:net";

/**
 * Callers by the thousand, in a process of its own so that their sockets and memory are not the server's: each opens a
 * connection, sends one call, and waits. Told over IPC to call or to leave, it answers with what has become of them.
 */
export type Order = { kind: "call"; url: string; count: number; agents: number; bodyBytes: number } | { kind: "leave" };
export type Report = { waiting: number; byStatus: Record<string, number>; lost: number; left: number };

const MODEL = "claude-sonnet-5-5";
/** As the SDK sends them, so that what the server keeps of a call is what it keeps of a real one. */
const HEADERS = [
  "accept: application/json",
  "content-type: application/json",
  "user-agent: Anthropic/JS 1.12.0",
  "x-stainless-lang: js",
  "x-stainless-package-version: 1.12.0",
  "x-stainless-os: Linux",
  "x-stainless-arch: x64",
  "x-stainless-runtime: node",
  "x-stainless-runtime-version: v24.21.0",
  "x-stainless-retry-count: 0",
  "x-stainless-timeout: 600",
  "anthropic-version: 2026-10-21",
  "authorization: Bearer sk-ant-bench",
  "x-headroom-deadline-ms: 540000",
  "x-simulator-input-tokens: 600",
  "x-simulator-output-tokens: 20",
];

const waiting = new Set<Socket>();
const byStatus: Record<string, number> = {};
let lost = 0;
let left = 0;

process.on("message", (order: Order) => {
  if (order.kind === "leave") {
    left += waiting.size;
    for (const socket of [...waiting]) socket.destroy();
    waiting.clear();
    report();
    return;
  }
  const { hostname, port } = new URL(order.url);
  const body = bodyOf(order.bodyBytes);
  let unsent = order.count;
  for (let index = 0; index < order.count; index += 1) {
    const socket = connect(Number(port), hostname, () => {
      socket.write(headOf(index % order.agents, body.length) + body);
      unsent -= 1;
      if (unsent === 0) report();
    });
    follow(socket);
  }
});
process.on("disconnect", () => process.exit(0));

function follow(socket: Socket): void {
  waiting.add(socket);
  let isAnswered = false;
  socket.once("data", (chunk: Buffer) => {
    isAnswered = true;
    const status = chunk.toString("latin1", 9, 12);
    byStatus[status] = (byStatus[status] ?? 0) + 1;
    waiting.delete(socket);
    socket.destroy();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    if (waiting.delete(socket) && !isAnswered) lost += 1;
  });
}

function headOf(agent: number, length: number): string {
  const own = [`x-headroom-agent: agent-${agent}`, `content-length: ${length}`];
  return `${["POST /v1/messages HTTP/1.1", "host: headroom", ...HEADERS, ...own].join("\r\n")}\r\n\r\n`;
}

function bodyOf(bytes: number): string {
  const request = { model: MODEL, max_tokens: 1_024, messages: [{ role: "user", content: "" }] };
  const frame = JSON.stringify(request).length;
  request.messages = [{ role: "user", content: "wait ".repeat(bytes).slice(0, Math.max(1, bytes - frame)) }];
  return JSON.stringify(request);
}

function report(): void {
  const told: Report = { waiting: waiting.size, byStatus, lost, left };
  process.send?.(told);
}
