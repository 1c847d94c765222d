import type { AnswerBlock } from "./answer.ts";

/** Tokens in one piece at most; slower streams send what a tick has made. */
const TOKENS_PER_PIECE = 12;

/** How a stream says that a block begins, grows and ends. */
export type BlockWriter = {
  start(block: AnswerBlock, index: number): string;
  piece(block: AnswerBlock, index: number, text: string): string;
  stop(block: AnswerBlock, index: number): string;
};

/** Cuts an answer's blocks where its tokens have got to. */
export class BlockProgress {
  #blocks: readonly AnswerBlock[];
  #writer: BlockWriter;
  #index = 0;
  /** Tokens of the current block that are out; -1 before it has begun. */
  #done = -1;
  /** Tokens of the blocks before it. */
  #before = 0;

  constructor(blocks: readonly AnswerBlock[], writer: BlockWriter) {
    this.#blocks = blocks;
    this.#writer = writer;
  }

  /** What is to be sent for all tokens up to `produced` that are not out yet. */
  advance(produced: number): string {
    let events = "";
    for (;;) {
      const block = this.#blocks[this.#index];
      if (!block) return events;
      const reached = Math.min(block.tokens, produced - this.#before);
      if (this.#done < 0) {
        // What costs no tokens comes with the token before it.
        if (reached <= 0 && block.tokens > 0) return events;
        events += this.#writer.start(block, this.#index);
        this.#done = 0;
      }
      while (this.#done < reached) {
        const next = Math.min(reached, this.#done + TOKENS_PER_PIECE);
        const text = cut(block, this.#done, next);
        if (text !== "") events += this.#writer.piece(block, this.#index, text);
        this.#done = next;
      }
      if (this.#done < block.tokens) return events;
      events += this.#writer.stop(block, this.#index);
      this.#before += block.tokens;
      this.#index += 1;
      this.#done = -1;
    }
  }
}

/** A block's text is spread evenly over its tokens. */
function cut(block: AnswerBlock, from: number, to: number): string {
  const at = (token: number) => Math.floor((block.text.length * token) / block.tokens);
  return block.text.slice(at(from), at(to));
}
