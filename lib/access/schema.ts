import { z } from "zod";

export const AgentInput = z.object({
  name: z
    .string()
    .trim()
    .regex(/^[\w.:@/ -]{1,100}$/, "1 to 100 letters, digits, spaces or . : @ / _ -"),
});
export type AgentInput = z.infer<typeof AgentInput>;

/** An agent key as it is shown: never the key, only how it begins. */
export const AgentKey = z.object({
  id: z.uuid(),
  name: z.string(),
  prefix: z.string(),
  createdAt: z.string(),
  revokedAt: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
});
export type AgentKey = z.infer<typeof AgentKey>;
