import { z } from "zod";
import { ChannelInput } from "#lib/alerts/schema.ts";
import { createChannel, listChannels } from "#lib/alerts/service/channels.ts";
import { json, operatorDoor } from "#lib/http.ts";

export const GET = operatorDoor(z.object({}), async ({ alerting }) => ({ channels: await listChannels(alerting) }));

/** The answer holds a webhook's signing secret, this once. */
export const POST = operatorDoor(ChannelInput, async ({ alerting }, input) => {
  const { secret, ...channel } = await createChannel(alerting, input);
  return json(201, { channel, secret });
});
