import type { Transform } from "node:stream";
import { constants, createBrotliCompress, createGzip, createZstdCompress } from "node:zlib";
import type { Exchange } from "./exchange.ts";
import type { Encoding } from "./simulator-headers.ts";

/** Where an answer's body goes: to the client as it is, or encoded and flushed piece by piece. */
export type AnswerSink = { write(text: string): void; end(text: string): void };

/** The encoding to use: what was wished, if the client says it takes it. */
export function negotiate(wanted: Encoding | null, acceptEncoding: string | undefined): Encoding | null {
  if (wanted === null || acceptEncoding === undefined) return null;
  const accepted = acceptEncoding.split(",").map((part) => part.split(";")[0]?.trim());
  return accepted.includes(wanted) || accepted.includes("*") ? wanted : null;
}

export function openSink(exchange: Exchange, encoding: Encoding | null): AnswerSink {
  const { response } = exchange;
  if (encoding === null) {
    return {
      write: (text) => {
        if (text !== "" && !exchange.gone) response.write(text);
      },
      end: (text) => {
        response.end(text);
      },
    };
  }
  const encoder = createEncoder(encoding);
  encoder.pipe(response);
  // The pipe outlives the client; nobody is left to be told.
  encoder.on("error", () => {});
  return {
    write: (text) => {
      if (text === "" || exchange.gone) return;
      encoder.write(text);
      encoder.flush();
    },
    end: (text) => {
      encoder.end(text);
    },
  };
}

function createEncoder(encoding: Encoding): Transform & { flush(): void } {
  if (encoding === "gzip") return createGzip({ flush: constants.Z_SYNC_FLUSH });
  return encoding === "br" ? createBrotliCompress() : createZstdCompress();
}
