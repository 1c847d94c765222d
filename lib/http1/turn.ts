type Flushed = { flush(): void };

const waiting: Flushed[] = [];
let depth = 0;

/** Does work that may write many times to the same writers; what each has to send goes out once, at the end. */
export function takeTurn(work: () => void): void {
  depth += 1;
  try {
    work();
  } finally {
    depth -= 1;
    if (depth === 0) {
      // By index, for a flush may have others flushed.
      for (let at = 0; at < waiting.length; at += 1) waiting[at]?.flush();
      waiting.length = 0;
    }
  }
}

/** Flushes the writer at the end of the turn that is taken, or else before anything else happens. */
export function flushLater(writer: Flushed): void {
  if (depth > 0) waiting.push(writer);
  else process.nextTick(() => writer.flush());
}
