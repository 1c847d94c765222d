import { parseValue } from "../anthropic/json-scan.ts";
import type { Flow, ResponseHandler } from "../http1/response-handler.ts";
import type { BatchBook } from "./batch-book.ts";
import { BATCHES } from "./endpoint.ts";
import type { UpstreamClient } from "./upstream-client.ts";

const MAX_BYTES = 64 * 1024;
const PATIENCE_MS = 10_000;

/**
 * Asks the upstream when a batch was made, as the caller that fetches its results: for batches that were made or asked
 * for before this process began. Resolves in any case; where no answer came the book does not know more than before.
 */
export function lookUpBatch(options: {
  client: UpstreamClient;
  batches: BatchBook;
  batchId: string;
  /** The results request's headers as they went upstream: credential and version are taken from them. */
  sentHeaders: readonly string[];
}): Promise<void> {
  const { client, batches, batchId, sentHeaders } = options;
  return new Promise((resolve) => {
    const headers: string[] = [];
    for (let at = 0; at + 1 < sentHeaders.length; at += 2) {
      const name = sentHeaders[at] ?? "";
      if (/^(?:x-api-key|authorization|user-agent|anthropic-.*)$/i.test(name))
        headers.push(name, sentHeaders[at + 1] ?? "");
    }
    const chunks: Buffer[] = [];
    let bytes = 0;
    let flow: Flow | null = null;
    const giveUp = () => {
      flow?.abort();
      done();
    };
    const patience = setTimeout(giveUp, PATIENCE_MS);
    const done = () => {
      clearTimeout(patience);
      resolve();
    };
    const handler: ResponseHandler = {
      onStart(begun) {
        flow = begun;
      },
      onHead(status) {
        if (status >= 300) giveUp();
      },
      onData(chunk) {
        bytes += chunk.length;
        if (bytes > MAX_BYTES) giveUp();
        else chunks.push(chunk);
      },
      onEnd() {
        batches.learn(parseValue(Buffer.concat(chunks)));
        done();
      },
      onError: done,
    };
    const target = `${BATCHES}/${batchId}`;
    client.dispatch({ method: "GET", target, headers, body: null, contentLength: null }, handler);
  });
}
