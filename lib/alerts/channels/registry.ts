import type { Channel } from "../schema.ts";
import type { AddressGuard } from "./address-guard.ts";
import type { ChannelKind } from "./channel.ts";
import { createEmail, type MailOptions } from "./email.ts";
import { createWebhook } from "./webhook.ts";

export type ChannelKinds = Record<Channel["kind"], ChannelKind>;

/** Every way to tell people. To add one: write its file beside these, list it here and in `ChannelInput`. */
export function createChannelKinds(options: { guard: AddressGuard; mail: MailOptions | null }): ChannelKinds {
  return {
    webhook: anyKind(createWebhook({ guard: options.guard })),
    email: anyKind(createEmail(options.mail)),
  };
}

/** A kind whose settings are parsed here instead of by whoever calls it: they come from the database as JSON. */
export function anyKind<Settings>(kind: ChannelKind<Settings>): ChannelKind {
  return {
    ...kind,
    check: (settings) => kind.check(kind.settings.parse(settings)),
    send: (notice, target) => kind.send(notice, { ...target, settings: kind.settings.parse(target.settings) }),
  };
}
