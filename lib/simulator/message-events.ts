import type { AnswerBlock } from "./answer.ts";
import type { BlockWriter } from "./block-progress.ts";

export const PING = 'event: ping\ndata: {"type": "ping"}\n\n';

export function sseEvent(type: string, data: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
}

/** The content events of `/v1/messages`. */
export const MESSAGE_EVENTS: BlockWriter = {
  start: (block, index) => {
    const start = sseEvent("content_block_start", { index, content_block: emptyBlock(block) });
    return index === 0 ? start + PING : start;
  },
  piece: (block, index, text) => sseEvent("content_block_delta", { index, delta: deltaOf(block, text) }),
  stop: (block, index) => {
    const delta = lastDelta(block);
    const last = delta === null ? "" : sseEvent("content_block_delta", { index, delta });
    return last + sseEvent("content_block_stop", { index });
  },
};

function deltaOf(block: AnswerBlock, text: string): object {
  if (block.type === "text") return { type: "text_delta", text };
  return block.type === "thinking"
    ? { type: "thinking_delta", thinking: text }
    : { type: "input_json_delta", partial_json: text };
}

/** What a block's last delta brings: a signature, or the whole of what is never sent in pieces. */
function lastDelta(block: AnswerBlock): object | null {
  if (block.type === "thinking") return { type: "signature_delta", signature: block.signature };
  if (block.type === "compaction") return { type: "compaction_delta", content: block.text, encrypted_content: null };
  return null;
}

/** A block as it stands in a plain answer. */
export function wholeBlock(block: AnswerBlock): object {
  switch (block.type) {
    case "text":
      return { type: "text", text: block.text, citations: null };
    case "thinking":
      return { type: "thinking", thinking: block.text, signature: block.signature };
    case "tool_use":
    case "server_tool_use": {
      const input: unknown = JSON.parse(block.text);
      return { type: block.type, id: block.id, name: block.name, input, caller: { type: "direct" } };
    }
    case "compaction":
      return { type: "compaction", content: block.text, encrypted_content: null };
    case "fixed":
      return block.content;
  }
}

function emptyBlock(block: AnswerBlock): object {
  switch (block.type) {
    case "text":
      return { type: "text", text: "", citations: null };
    case "thinking":
      return { type: "thinking", thinking: "", signature: "" };
    case "tool_use":
    case "server_tool_use":
      return { type: block.type, id: block.id, name: block.name, input: {}, caller: { type: "direct" } };
    case "compaction":
      return { type: "compaction", content: null, encrypted_content: null };
    case "fixed":
      return block.content;
  }
}
