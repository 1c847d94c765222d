import type { Answer, AnswerBlock } from "./answer.ts";

/** Tokens in one delta at most; slower streams send what a tick has made. */
const TOKENS_PER_DELTA = 12;

export const PING = 'event: ping\ndata: {"type": "ping"}\n\n';

export function sseEvent(type: string, data: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
}

/** The content events of one answer, cut where its tokens have got to. */
export class MessageEvents {
  #blocks: readonly AnswerBlock[];
  #index = 0;
  /** Tokens of the current block that are out; -1 before it has begun. */
  #done = -1;
  /** Tokens of the blocks before it. */
  #before = 0;

  constructor(answer: Answer) {
    this.#blocks = answer.blocks;
  }

  /** Events for all tokens up to `produced` that are not out yet. */
  advance(produced: number): string {
    let events = "";
    for (;;) {
      const block = this.#blocks[this.#index];
      if (!block) return events;
      const reached = Math.min(block.tokens, produced - this.#before);
      if (this.#done < 0) {
        // What costs no tokens comes with the token before it.
        if (reached <= 0 && block.tokens > 0) return events;
        events += this.#startOf(block);
        this.#done = 0;
      }
      while (this.#done < reached) {
        const next = Math.min(reached, this.#done + TOKENS_PER_DELTA);
        events += this.#delta(block, this.#done, next);
        this.#done = next;
      }
      if (this.#done < block.tokens) return events;
      events += this.#stopOf(block);
      this.#before += block.tokens;
      this.#index += 1;
      this.#done = -1;
    }
  }

  #startOf(block: AnswerBlock): string {
    const start = sseEvent("content_block_start", { index: this.#index, content_block: emptyBlock(block) });
    return this.#index === 0 ? start + PING : start;
  }

  #delta(block: AnswerBlock, from: number, to: number): string {
    const at = (token: number) => Math.floor((block.text.length * token) / block.tokens);
    const text = block.text.slice(at(from), at(to));
    if (text === "") return "";
    const delta =
      block.type === "text"
        ? { type: "text_delta", text }
        : block.type === "thinking"
          ? { type: "thinking_delta", thinking: text }
          : { type: "input_json_delta", partial_json: text };
    return sseEvent("content_block_delta", { index: this.#index, delta });
  }

  #stopOf(block: AnswerBlock): string {
    const delta = lastDelta(block);
    const last = delta === null ? "" : sseEvent("content_block_delta", { index: this.#index, delta });
    return last + sseEvent("content_block_stop", { index: this.#index });
  }
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
