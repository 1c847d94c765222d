import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { readAnswers, readRequests, type WireMessage } from "./http-wire.ts";

/** A request and what came back for it, interim answers apart. */
export type WireExchange = {
  request: WireMessage;
  interim: WireMessage[];
  /** Null when the connection ended before any. */
  answer: WireMessage | null;
};

export type WireTap = {
  url: string;
  /** Everything that has passed, in the order in which the requests began. Read once the traffic is over. */
  exchanges(): WireExchange[];
  /** Ends what connections there are, as a server does that leaves, and leads new ones there. */
  aim(targetUrl: string): Promise<void>;
  close(): Promise<void>;
};

/** Bytes of one direction, with the moments at which they passed. */
class Flow {
  readonly #chunks: Buffer[] = [];
  readonly #marks: { offset: number; tick: number }[] = [];
  #bytes = 0;

  push(chunk: Buffer, tick: number): void {
    this.#marks.push({ offset: this.#bytes, tick });
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  whole(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  tickOf(offset: number): number {
    return this.#marks.findLast((mark) => mark.offset <= offset)?.tick ?? 0;
  }
}

/** Stands between a client and a server, passes on every byte and every ending, and keeps what passed. */
export async function openTap(targetUrl: string): Promise<WireTap> {
  let target = new URL(targetUrl);
  const flows: { sent: Flow; received: Flow }[] = [];
  const sockets = new Set<Socket>();
  let tick = 0;
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ port: Number(target.port), host: target.hostname, allowHalfOpen: true });
    const flow = { sent: new Flow(), received: new Flow() };
    flows.push(flow);
    join(client, upstream, (chunk) => flow.sent.push(chunk, ++tick));
    join(upstream, client, (chunk) => flow.received.push(chunk, ++tick));
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("close", () => sockets.delete(socket));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    exchanges: () =>
      flows
        .flatMap(({ sent, received }) => {
          const requests = readRequests(sent.whole());
          const methods = requests.map(({ startLine }) => startLine.split(" ", 1)[0] ?? "");
          const answers = readAnswers(received.whole(), methods);
          return requests.map((request) => {
            const interim: WireMessage[] = [];
            while (/^HTTP\/1\.1 1\d\d/.test(answers[0]?.startLine ?? "")) interim.push(...answers.splice(0, 1));
            const answer = answers.shift() ?? null;
            return { began: sent.tickOf(request.offset), exchange: { request, interim, answer } };
          });
        })
        .sort((one, other) => one.began - other.began)
        .map(({ exchange }) => exchange),
    aim: async (url) => {
      target = new URL(url);
      const closing = [...sockets].map((socket) => new Promise((closed) => socket.once("close", closed)));
      for (const socket of sockets) socket.end();
      await Promise.all(closing);
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function join(from: Socket, to: Socket, seen: (chunk: Buffer) => void): void {
  from.on("data", (chunk: Buffer) => {
    seen(chunk);
    if (!to.write(chunk)) from.pause();
  });
  to.on("drain", () => from.resume());
  from.on("end", () => to.end());
  from.on("error", () => to.resetAndDestroy());
  from.on("close", () => {
    if (!from.readableEnded) to.resetAndDestroy();
  });
}
