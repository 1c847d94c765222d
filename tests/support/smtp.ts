import type { AddressInfo } from "node:net";
import { type ParsedMail, simpleParser } from "mailparser";
import { SMTPServer } from "smtp-server";

export type Mailbox = {
  /** For SMTP_URL. */
  url: string;
  mails: ParsedMail[];
  /** As they came over the wire, headers and all. */
  raw: string[];
  /** Answers every recipient with this code from now on; null accepts again. */
  refuseWith(code: number | null): void;
  /** Resolves once that many mails have come. */
  waitFor(count: number): Promise<ParsedMail[]>;
  close(): Promise<void>;
};

/** A real SMTP server on a port of its own, that keeps what it is given. */
export async function openMailbox(): Promise<Mailbox> {
  const mails: ParsedMail[] = [];
  const raw: string[] = [];
  const waiting = new Set<() => void>();
  let refusal: number | null = null;

  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS", "AUTH"],
    onRcptTo(_address, _session, callback) {
      if (refusal === null) return callback();
      callback(Object.assign(new Error("mailbox unavailable"), { responseCode: refusal }));
    },
    onData(stream, _session, callback) {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", async () => {
        const bytes = Buffer.concat(chunks);
        raw.push(bytes.toString("utf8"));
        mails.push(await simpleParser(bytes));
        callback();
        for (const check of waiting) check();
      });
    },
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.server.address() as AddressInfo;

  return {
    url: `smtp://127.0.0.1:${port}`,
    mails,
    raw,
    refuseWith(code) {
      refusal = code;
    },
    waitFor: (count) =>
      new Promise((resolve) => {
        const check = () => {
          if (mails.length < count) return;
          waiting.delete(check);
          resolve(mails);
        };
        waiting.add(check);
        check();
      }),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
