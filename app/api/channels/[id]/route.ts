import { z } from "zod";
import { ChannelInput } from "#lib/alerts/schema.ts";
import { deleteChannel, listChannels, updateChannel } from "#lib/alerts/service/channels.ts";
import { operatorDoor } from "#lib/http.ts";
import { AppError } from "#lib/kit/errors.ts";

const Id = z.object({ id: z.uuid() });

/** Changes what is given and leaves the rest as it is. */
export const PATCH = operatorDoor(Id.loose(), async ({ alerting }, { id, ...change }) => {
  const channel = (await listChannels(alerting)).find((known) => known.id === id);
  if (!channel) throw new AppError("not_found", "There is no such channel.");
  return { channel: await updateChannel(alerting, id, ChannelInput.parse({ ...channel, ...change })) };
});

export const DELETE = operatorDoor(Id, async ({ alerting }, { id }) => {
  await deleteChannel(alerting, id);
  return { deleted: true };
});
