import { type ErrorDetail, parseErrorDetail } from "./error-detail.ts";
import { findTopLevelValues, parseValue } from "./json-scan.ts";
import { type MessageSummary, readMessageSummary } from "./message-usage.ts";

/** One line of a batch's results. Only what succeeded is billed. */
export type BatchResult = {
  customId: string;
  type: "succeeded" | "errored" | "canceled" | "expired";
  /** Of what succeeded; null where that brought no usage. */
  message: MessageSummary | null;
  /** Of what erred. */
  error: ErrorDetail | null;
};

/** Reads a line without parsing the answer in it. Null when it is no result. */
export function readBatchResult(line: Buffer): BatchResult | null {
  const outer = findTopLevelValues(line, ["custom_id", "result"]);
  const customId = parseValue(outer.get("custom_id"), 4096);
  const result = outer.get("result");
  if (typeof customId !== "string" || result === undefined) return null;
  const found = findTopLevelValues(result, ["type", "message", "error"]);
  const message = found.get("message");
  switch (parseValue(found.get("type"), 100)) {
    case "succeeded":
      return { customId, type: "succeeded", message: message ? readMessageSummary(message) : null, error: null };
    case "errored":
      return { customId, type: "errored", message: null, error: parseErrorDetail(parseValue(found.get("error"))) };
    case "canceled":
      return { customId, type: "canceled", message: null, error: null };
    case "expired":
      return { customId, type: "expired", message: null, error: null };
    default:
      return null;
  }
}
