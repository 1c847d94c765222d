import { findTopLevelValues, parseValue } from "./json-scan.ts";
import { mergeUsage, NO_USAGE, type Usage } from "./usage.ts";

/** What a plain Messages answer says of itself. */
export type MessageSummary = {
  model: string | null;
  stopReason: string | null;
  usage: Usage;
  /** Whether the model produced anything: a refusal before that is not charged. */
  hasContent: boolean;
};

/** Reads it without parsing the content. Null when the body holds no `usage`. */
export function readMessageSummary(body: Buffer): MessageSummary | null {
  const found = findTopLevelValues(body, ["model", "stop_reason", "usage", "content"]);
  const usage = mergeUsage(NO_USAGE, parseValue(found.get("usage")));
  if (usage === NO_USAGE) return null;
  const content = found.get("content");
  return {
    model: text(parseValue(found.get("model"), 4096)),
    stopReason: text(parseValue(found.get("stop_reason"), 4096)),
    usage,
    hasContent: content?.includes(0x7b) ?? false,
  };
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value.slice(0, 200) : null;
}
