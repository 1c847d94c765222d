import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type ReceivedWebhook = { path: string; headers: IncomingHttpHeaders; body: string };
export type WebhookAnswer = (response: ServerResponse, request: ReceivedWebhook) => void;

export type WebhookReceiver = {
  url: string;
  port: number;
  received: ReceivedWebhook[];
  /** How every request is answered from now on; 204 at first. */
  answerWith(answer: WebhookAnswer): void;
  /** Resolves once that many requests have come. */
  waitFor(count: number): Promise<ReceivedWebhook[]>;
  close(): Promise<void>;
};

/** A real HTTP server that keeps what it is sent and answers as told. */
export async function openWebhookReceiver(): Promise<WebhookReceiver> {
  const received: ReceivedWebhook[] = [];
  const waiting = new Set<() => void>();
  let answer: WebhookAnswer = (response) => response.writeHead(204).end();

  const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const webhook = {
      path: request.url ?? "",
      headers: request.headers,
      body: Buffer.concat(chunks).toString("utf8"),
    };
    received.push(webhook);
    for (const check of waiting) check();
    answer(response, webhook);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}/hook`,
    port,
    received,
    answerWith(next) {
      answer = next;
    },
    waitFor: (count) =>
      new Promise((resolve) => {
        const check = () => {
          if (received.length < count) return;
          waiting.delete(check);
          resolve(received);
        };
        waiting.add(check);
        check();
      }),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
