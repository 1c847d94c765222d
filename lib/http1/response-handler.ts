/** Steers an exchange that is under way; every one of these does nothing once it has ended. */
export type Flow = {
  /** Nothing of the request is in this process any more; false too once the exchange has ended. */
  readonly isWritten: boolean;
  /** Breaks the exchange off; its handler hears nothing more. */
  abort(): void;
  /** Reads no further; what was read already may still be handed over. */
  pause(): void;
  resume(): void;
};

/**
 * Takes one answer: `onStart` before anything is sent, then interim answers, the head, the body and the end, or an error
 * in place of what is missing. Header names and values in turn, spelled and ordered as on the wire, decoded as Latin-1,
 * which keeps every byte.
 */
export type ResponseHandler = {
  onStart(flow: Flow): void;
  /** Status 100 to 199. */
  onInterim?(status: number, rawHeaders: string[]): void;
  onHead(status: number, reason: string, rawHeaders: string[]): void;
  /** The chunk belongs to the handler. */
  onData(chunk: Buffer): void;
  onEnd(rawTrailers: string[]): void;
  onError(error: Error): void;
};
