import type { z } from "zod";
import type { Alert, AlertEvent } from "../schema.ts";

/** One thing to tell, the same on every attempt. */
export type Notice = {
  /** Of the delivery: receivers that see an id twice have seen the event. */
  id: string;
  event: AlertEvent;
  /** Counts the firing notices of an incident: 2 says that it rose to critical. */
  eventNumber: number;
  createdAt: string;
  /** The incident as it was at the change; null for a test. */
  alert: Alert | null;
  channelName: string;
  /** Where the reader goes to see more. */
  url: string;
};

export type Target<Settings> = {
  settings: Settings;
  /** In the clear, the current one first: each of them signs. Empty where the kind has none. */
  secrets: string[];
};

/** How one attempt ended. `status` is the HTTP status or SMTP code, `answer` what the receiver said. */
export type Attempt =
  | { outcome: "delivered"; status: number | null; answer: string }
  | {
      outcome: "failed";
      status: number | null;
      answer: string;
      /** Trying again cannot help. */
      permanent: boolean;
      /** No answer came after the notice was sent, so it may have arrived. */
      uncertain: boolean;
      retryAfterSeconds: number | null;
      /** Set when the receiver asked never to be called again: shown as the reason it was switched off. */
      disableReason: string | null;
    };

/** A way to tell people. One file exports one, `registry.ts` lists them. */
export type ChannelKind<Settings = unknown> = {
  kind: string;
  settings: z.ZodType<Settings>;
  /** Throws an AppError `invalid_input` when a channel with these settings could never work. */
  check(settings: Settings): void;
  /** A new signing secret, in the clear, or null where the kind has none. */
  createSecret(): string | null;
  /** One attempt. Never throws. */
  send(notice: Notice, target: Target<Settings>): Promise<Attempt>;
  close(): Promise<void>;
};

/** A failed attempt that is worth another one, unless said otherwise. */
export function failed(
  answer: string,
  rest: Partial<Omit<Extract<Attempt, { outcome: "failed" }>, "outcome" | "answer">> = {},
): Attempt {
  return {
    outcome: "failed",
    status: null,
    answer,
    permanent: false,
    uncertain: false,
    retryAfterSeconds: null,
    disableReason: null,
    ...rest,
  };
}
