import type { Readable } from "node:stream";
import { invalidRequest } from "./api-error.ts";

/** One part of a multipart body. Its bytes have to be read before the next part comes; what is left is skipped. */
export type Part = { name: string; filename: string | null; contentType: string | null; body: AsyncIterable<Buffer> };

const MAX_HEADER_BYTES = 16 * 1024;

/**
 * Reads `multipart/form-data` (RFC 7578) part by part as it arrives, holding never more than a chunk of it. Throws
 * ApiError for a body that is none.
 */
export async function* readParts(contentType: string, request: Readable): AsyncGenerator<Part> {
  const match = /^multipart\/form-data\s*;.*\bboundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType);
  const boundary = match?.[1] ?? match?.[2];
  if (boundary === undefined) {
    throw invalidRequest(`Content-Type must be multipart/form-data with a boundary, but is "${contentType}"`);
  }
  // Left alive when reading stops early, so that the answer still reaches the client.
  const source: AsyncIterator<Buffer> = request.iterator({ destroyOnReturn: false });
  try {
    const reader = new PartReader(boundary, source);
    await drain(reader.untilDelimiter());
    while (await reader.hasPart()) {
      const headers = await reader.readHeaders();
      const disposition = headers.get("content-disposition") ?? "";
      const name = parameter(disposition, "name");
      if (name === null) throw invalidRequest("multipart: a part has no name");
      const body = reader.untilDelimiter();
      const filename = parameter(disposition, "filename");
      yield { name, filename, contentType: headers.get("content-type") ?? null, body };
      await drain(body);
    }
  } finally {
    await source.return?.();
  }
}

class PartReader {
  #source: AsyncIterator<Buffer>;
  #delimiter: Buffer;
  /** The first delimiter stands at the very beginning, without the line break that is part of all others. */
  #buffer: Buffer = Buffer.from("\r\n");

  constructor(boundary: string, source: AsyncIterator<Buffer>) {
    this.#source = source;
    this.#delimiter = Buffer.from(`\r\n--${boundary}`);
  }

  /** All bytes before the next delimiter, which it takes away too. */
  async *untilDelimiter(): AsyncGenerator<Buffer> {
    for (;;) {
      const at = this.#buffer.indexOf(this.#delimiter);
      const end = at >= 0 ? at : Math.max(0, this.#buffer.length - this.#delimiter.length + 1);
      const bytes = this.#buffer.subarray(0, end);
      this.#buffer = this.#buffer.subarray(at >= 0 ? at + this.#delimiter.length : end);
      if (bytes.length > 0) yield bytes;
      if (at >= 0) return;
      await this.#fill();
    }
  }

  /** Whether a part follows a delimiter, or the end. */
  async hasPart(): Promise<boolean> {
    while (this.#buffer.length < 2) await this.#fill();
    const mark = this.#buffer.toString("latin1", 0, 2);
    this.#buffer = this.#buffer.subarray(2);
    if (mark === "--") {
      for (;;) {
        // What comes after the end has no meaning, but has to be taken off the wire.
        if ((await this.#source.next()).done) return false;
      }
    }
    if (mark !== "\r\n") throw invalidRequest("multipart: a delimiter is not followed by a line break");
    return true;
  }

  async readHeaders(): Promise<Map<string, string>> {
    let end = this.#buffer.indexOf("\r\n\r\n");
    while (end < 0) {
      if (this.#buffer.length > MAX_HEADER_BYTES) throw invalidRequest("multipart: the headers of a part are too long");
      await this.#fill();
      end = this.#buffer.indexOf("\r\n\r\n");
    }
    const lines = this.#buffer.toString("utf8", 0, end).split("\r\n");
    this.#buffer = this.#buffer.subarray(end + 4);
    return new Map(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
  }

  async #fill(): Promise<void> {
    const { value, done } = await this.#source.next();
    if (done) throw invalidRequest("multipart: the body ends before its last delimiter");
    this.#buffer = this.#buffer.length === 0 ? value : Buffer.concat([this.#buffer, value]);
  }
}

async function drain(body: AsyncIterable<Buffer>): Promise<void> {
  for await (const _ of body) {
    // Skipped.
  }
}

/** A parameter of `Content-Disposition`; browsers and SDKs escape quotes and line breaks in it by percent signs. */
function parameter(disposition: string, name: string): string | null {
  const value = new RegExp(`;\\s*${name}="([^"]*)"`, "i").exec(disposition)?.[1];
  return value === undefined ? null : value.replace(/%(22|0D|0A)/gi, (escaped) => decodeURIComponent(escaped));
}
