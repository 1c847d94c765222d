import { expect, test } from "vitest";
import { z } from "zod";
import { createId } from "../../lib/kit/ids.ts";
import type { Open } from "./suite.ts";

const Key = z.object({
  id: z.uuid(),
  name: z.string(),
  prefix: z.string(),
  hash: z.string(),
  createdAt: z.string(),
  revokedAt: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
});
const Keys = z.object({ keys: z.array(Key) });

export function accessSuite(open: Open): void {
  const create = async (name: string, createdAt = "2026-11-20T10:00:00.000Z") => {
    const key = { id: createId(), name, prefix: "hr_abc", hash: createId(), createdAt };
    await open().database.call("agent_keys_create", { agent_key: key }, z.unknown());
    return key;
  };
  const list = async (name: string) =>
    (await open().database.call("agent_keys_list", {}, Keys)).keys.filter((key) => key.name === name);
  const revoke = (id: string) =>
    open().database.call("agent_keys_revoke", { key_id: id }, z.object({ revoked: z.boolean() }));

  test("a key is listed as it was created", async () => {
    const key = await create("listed");
    expect(await list("listed")).toEqual([{ ...key, revokedAt: null, lastUsedAt: null }]);
  });

  test("a name belongs to one valid key and is free again after it was revoked", async () => {
    const key = await create("taken");
    await expect(create("taken")).rejects.toMatchObject({ code: "conflict" });
    expect(await revoke(key.id)).toEqual({ revoked: true });
    expect(await revoke(key.id)).toEqual({ revoked: false });
    await create("taken", "2026-11-21T10:00:00.000Z");
    const keys = await list("taken");
    expect(keys.map(({ revokedAt }) => revokedAt === null)).toEqual([true, false]);
  });

  test("the last use never goes back", async () => {
    const key = await create("used");
    const used = (lastUsedAt: string) =>
      open().database.call("agent_keys_used", { keys: [{ id: key.id, lastUsedAt }] }, z.object({ updated: z.int() }));
    expect(await used("2026-11-22T10:00:00.000Z")).toEqual({ updated: 1 });
    await used("2026-11-21T10:00:00.000Z");
    expect((await list("used"))[0]?.lastUsedAt).toBe("2026-11-22T10:00:00.000Z");
  });
}
