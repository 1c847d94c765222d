import type { IncomingMessage } from "node:http";
import { promisify } from "node:util";
import { brotliDecompress, gunzip, inflate, zstdDecompress } from "node:zlib";
import { ApiError, invalidRequest } from "./api-error.ts";

/** 32 MB for Messages and count_tokens. */
export const MAX_BODY_BYTES = 32 * 1024 * 1024;

const decoders = {
  gzip: promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
  zstd: promisify(zstdDecompress),
};

/** Reads a JSON body that says it is one. */
export async function readJson(request: IncomingMessage, maxBytes = MAX_BODY_BYTES): Promise<unknown> {
  const contentType = request.headers["content-type"] ?? "";
  if (!/^application\/(.+\+)?json\b/i.test(contentType)) {
    throw invalidRequest(`Content-Type must be application/json, but is "${contentType}"`);
  }
  return parseJson(await readBody(request, maxBytes));
}

/** Reads the whole body, decoded. Throws ApiError: 413 when it is too large, 400 when its encoding is wrong. */
export async function readBody(request: IncomingMessage, maxBytes = MAX_BODY_BYTES): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLarge(request);
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Left alive when reading stops early, so that the client gets to read the answer.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    const buffer: Buffer = chunk;
    bytes += buffer.length;
    if (bytes > maxBytes) throw tooLarge(request);
    chunks.push(buffer);
  }
  const body = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
  const encoding = request.headers["content-encoding"] ?? "identity";
  return encoding === "identity" ? body : decode(body, encoding, maxBytes);
}

/** Parses JSON, failing as the API does. */
export function parseJson(body: Buffer): unknown {
  const text = body.toString("utf8");
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    const position = lexicalFaultAt(text);
    const before = text.slice(0, position).split("\n");
    const fault = position < text.length ? "unexpected character" : "unexpected end of data";
    throw invalidRequest(
      `The request body is not valid JSON: ${fault}: line ${before.length} column ${(before.at(-1)?.length ?? 0) + 1} (char ${position})`,
    );
  }
}

/** Where the text stops being a row of JSON tokens, or its end. The engine's own message would quote the prompt. */
function lexicalFaultAt(text: string): number {
  const token =
    /\s*(?:[{}[\]:,]|"(?:[^"\\\n]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)\s*/y;
  let position = 0;
  while (position < text.length && token.test(text)) position = token.lastIndex;
  return position;
}

async function decode(body: Buffer, encoding: string, maxBytes: number): Promise<Buffer> {
  const decoder = Object.entries(decoders).find(([name]) => name === encoding.trim().toLowerCase())?.[1];
  if (!decoder) {
    throw new ApiError(400, "invalid_request_error", `Content-Encoding "${encoding}" is not supported`, {
      errorCode: "request_body_encoding_unsupported",
    });
  }
  try {
    return await decoder(body, { maxOutputLength: maxBytes });
  } catch (error) {
    if (error instanceof RangeError) {
      throw new ApiError(413, "request_too_large", "Request exceeds the maximum size once decoded", {
        errorCode: "request_body_too_large_after_decoding",
      });
    }
    throw new ApiError(400, "invalid_request_error", "The request body is not valid for its Content-Encoding", {
      errorCode: "request_body_encoding_invalid",
    });
  }
}

/** The rest of the body is let run into nothing, so that the client gets to read the answer. */
export function tooLarge(request: IncomingMessage): ApiError {
  request.resume();
  return new ApiError(413, "request_too_large", "Request exceeds the maximum size", {
    headers: { connection: "close" },
  });
}
