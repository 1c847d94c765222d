import { z } from "zod";
import { AppError } from "../../kit/errors.ts";
import { CHANNEL_SECRET } from "../deliver.ts";
import { Channel, type ChannelInput, type CreatedChannel, type Notification } from "../schema.ts";
import type { AlertsContext } from "./context.ts";

/** For how long the secret before signs beside a new one. */
const ROTATION_SECONDS = 24 * 3600;

/** Oldest first, without their secrets. */
export function listChannels({ database }: AlertsContext): Promise<Channel[]> {
  return database.call("channels_list", {}, z.array(Channel));
}

/** The answer carries a webhook's signing secret: the only time that it is shown. */
export async function createChannel(ctx: AlertsContext, input: ChannelInput): Promise<CreatedChannel> {
  const kind = ctx.kinds[input.kind];
  kind.check(input.settings);
  const secret = kind.createSecret();
  const sealed = secret === null ? null : ctx.secretBox.seal(secret, CHANNEL_SECRET);
  const channel = await ctx.database.call(
    "channels_save",
    { channel: { ...input, id: null, secret: sealed } },
    Channel,
  );
  return { ...channel, secret };
}

/** Replaces name, settings and whether it is on; kind and secret stay. Switching it on forgives its failures. */
export async function updateChannel(ctx: AlertsContext, id: string, input: ChannelInput): Promise<Channel> {
  ctx.kinds[input.kind].check(input.settings);
  const channel = await ctx.database.call("channels_save", { channel: { ...input, id } }, Channel.nullable());
  if (!channel) throw new AppError("not_found", `There is no such ${input.kind} channel.`);
  return channel;
}

/** A new signing secret, shown once. For a day notices carry both signatures, so that the receiver can change over. */
export async function rotateChannelSecret(ctx: AlertsContext, id: string): Promise<CreatedChannel> {
  const channels = await listChannels(ctx);
  const known = channels.find((channel) => channel.id === id);
  if (!known) throw new AppError("not_found", "There is no such channel.");
  const secret = ctx.kinds[known.kind].createSecret();
  if (secret === null) throw new AppError("invalid_input", `A channel of kind ${known.kind} has no signing secret.`);
  const sealed = ctx.secretBox.seal(secret, CHANNEL_SECRET);
  const args = { channel_id: id, secret: sealed, keep_seconds: ROTATION_SECONDS };
  const channel = await ctx.database.call("channels_rotate", args, Channel.nullable());
  if (!channel) throw new AppError("not_found", "There is no such channel.");
  return { ...channel, secret };
}

/** What still waits for it is dropped; its deliveries stay in the log. */
export async function deleteChannel({ database }: AlertsContext, id: string): Promise<void> {
  const { deleted } = await database.call("channels_delete", { channel_id: id }, z.object({ deleted: z.boolean() }));
  if (!deleted) throw new AppError("not_found", "There is no such channel.");
}

/** Sends a test over the real path now and answers with how it went. Works while the channel is off. */
export function testChannel({ deliverer }: AlertsContext, id: string): Promise<Notification> {
  return deliverer.test(id);
}
