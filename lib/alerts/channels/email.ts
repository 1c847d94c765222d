import nodemailer from "nodemailer";
import { z } from "zod";
import { AppError, messageOf } from "../../kit/errors.ts";
import { title } from "../wording.ts";
import { type Attempt, type ChannelKind, failed, type Notice } from "./channel.ts";
import { mailHtml, mailText } from "./mail-body.ts";

const EmailSettings = z.object({ to: z.array(z.string()).min(1) });
type EmailSettings = z.infer<typeof EmailSettings>;

/** Where mail goes out, and in whose name; `from` may be `Headroom <alerts@example.com>`. */
export type MailOptions = { smtpUrl: string; from: string; timeoutMs?: number };

const NOT_SET_UP = "Mail is not set up: set SMTP_URL and HEADROOM_MAIL_FROM and restart";

/** Mail over SMTP, threaded by incident. Null when no mail server is configured: such channels then cannot be added. */
export function createEmail(mail: MailOptions | null): ChannelKind<EmailSettings> {
  const timeout = mail?.timeoutMs ?? 15_000;
  const transport = mail
    ? nodemailer.createTransport({
        url: mail.smtpUrl,
        connectionTimeout: timeout,
        greetingTimeout: timeout,
        socketTimeout: timeout,
        dnsTimeout: timeout,
      })
    : null;
  return {
    kind: "email",
    settings: EmailSettings,
    check() {
      if (!mail) throw new AppError("invalid_input", `${NOT_SET_UP}, then add the channel.`);
    },
    createSecret: () => null,
    async send(notice, { settings }) {
      if (!mail || !transport) return failed(`${NOT_SET_UP}.`);
      try {
        const info = await transport.sendMail({ from: mail.from, to: settings.to, ...composeMail(notice, mail.from) });
        const refused = info.rejected.length > 0 ? ` Refused: ${info.rejected.map(String).join(", ")}.` : "";
        return { outcome: "delivered", status: smtpCode(info.response), answer: `${info.response}${refused}` };
      } catch (error) {
        return explain(error);
      }
    },
    async close() {
      transport?.close();
    },
  };
}

/** Everything of a mail but its envelope. */
export function composeMail(notice: Notice, from: string) {
  const host = hostOf(from);
  const ids = messageIds(notice, host);
  return {
    subject: headerText(title(notice)),
    messageId: ids.own,
    ...(ids.first === ids.own ? {} : { inReplyTo: ids.first, references: ids.first }),
    headers: {
      "Auto-Submitted": "auto-generated",
      "X-Auto-Response-Suppress": "All",
      "List-Id": `Headroom alerts <alerts.headroom.${host}>`,
    },
    text: mailText(notice),
    html: mailHtml(notice),
    // A body comes from names and figures only: nothing in it may make the mailer read a file or fetch an address.
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

/** The first mail of an incident is named after it; the later ones answer it, so that mail programs thread them. */
function messageIds(notice: Notice, host: string): { first: string; own: string } {
  if (!notice.alert) return { first: `<test-${notice.id}@${host}>`, own: `<test-${notice.id}@${host}>` };
  const first = `<alert-${notice.alert.id}@${host}>`;
  if (notice.event === "alert.resolved") return { first, own: `<alert-${notice.alert.id}-resolved@${host}>` };
  return { first, own: notice.eventNumber === 1 ? first : `<alert-${notice.alert.id}-${notice.eventNumber}@${host}>` };
}

/** One line: a name with a line break in it would otherwise write headers of its own. */
function headerText(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").trim();
}

function hostOf(from: string): string {
  return /@([^<>@\s]+)>?$/.exec(from)?.[1] ?? "localhost";
}

function smtpCode(response: string): number | null {
  const code = /^(\d{3})/.exec(response)?.[1];
  return code ? Number(code) : null;
}

/** What nodemailer throws: `code` says at which step, `responseCode` what the server answered. */
const SmtpError = z.object({
  message: z.string(),
  code: z.string().optional(),
  responseCode: z.number().optional(),
  response: z.string().optional(),
  command: z.string().optional(),
});

function explain(error: unknown): Attempt {
  const parsed = SmtpError.safeParse(error instanceof Error ? { ...error, message: error.message } : error);
  if (!parsed.success) return failed(messageOf(error));
  const { message, code, responseCode, response, command } = parsed.data;
  return failed(response || message, {
    status: responseCode ?? null,
    // A refused recipient or message stays refused; a refused log-in is a setting that somebody may mend.
    permanent: (responseCode ?? 0) >= 500 && (code === "EENVELOPE" || code === "EMESSAGE"),
    uncertain: responseCode === undefined && command === "DATA",
  });
}
