import zlib from "node:zlib";

/** A page of a thousand batches is half a megabyte; what is longer than this is not read. */
export const MAX_BATCH_ANSWER = 8 * 1024 * 1024;

type Recode = (body: Buffer) => Buffer;

const limits = { maxOutputLength: MAX_BATCH_ANSWER };
/** The default quality of Brotli is meant for files that are compressed once. */
const quality = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } };

const CODINGS: Readonly<Record<string, readonly [decode: Recode, encode: Recode] | undefined>> = {
  identity: [(body) => body, (body) => body],
  gzip: [(body) => zlib.gunzipSync(body, limits), (body) => zlib.gzipSync(body)],
  "x-gzip": [(body) => zlib.gunzipSync(body, limits), (body) => zlib.gzipSync(body)],
  deflate: [(body) => zlib.inflateSync(body, limits), (body) => zlib.deflateSync(body)],
  br: [(body) => zlib.brotliDecompressSync(body, limits), (body) => zlib.brotliCompressSync(body, quality)],
  zstd: [(body) => zlib.zstdDecompressSync(body, limits), (body) => zlib.zstdCompressSync(body)],
};

/** How a short answer about batches is read and written whole; undefined for a coding that is not known. Both may throw. */
export function batchCoding(encoding: string | null) {
  return CODINGS[encoding?.trim().toLowerCase() ?? "identity"];
}
