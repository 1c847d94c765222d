import { expect, test } from "vitest";
import { z } from "zod";
import { createId } from "../../lib/kit/ids.ts";
import { callRecord } from "../support/call-record.ts";
import type { Open } from "./suite.ts";

const Key = z.object({
  id: z.uuid(),
  prefix: z.string(),
  hash: z.string(),
  createdAt: z.string(),
  expiresAt: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
});
const Agent = z.object({
  id: z.uuid(),
  name: z.string(),
  settings: z.record(z.string(), z.unknown()),
  createdAt: z.string(),
  revokedAt: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
  keys: z.array(Key),
});

export function accessSuite(open: Open): void {
  const call = <Schema extends z.ZodType>(name: string, args: Record<string, unknown>, answer: Schema) =>
    open().database.call(name, args, answer);
  const makeKey = (createdAt: string) => ({ id: createId(), prefix: "hr_abcdef", hash: createId(), createdAt });
  const create = (name: string, settings: object = {}, createdAt = "2026-11-20T10:00:00.000Z") =>
    call("agents_create", { agent: { id: createId(), name, settings, createdAt, key: makeKey(createdAt) } }, Agent);
  const list = async (name: string) =>
    (await call("agents_list", {}, z.object({ agents: z.array(Agent) }))).agents.filter((agent) => agent.name === name);
  const revoke = (id: string) => call("agents_revoke", { agent_id: id }, z.object({ revoked: z.boolean() }));
  const rotate = (id: string, overlap: number, createdAt = new Date().toISOString()) =>
    call("agents_rotate", { agent_id: id, agent_key: makeKey(createdAt), overlap_seconds: overlap }, Agent.nullable());

  test("an agent is listed as it was created, with its key", async () => {
    const agent = await create("listed", { requestsPerMinute: 5 });
    expect(agent).toMatchObject({ settings: { requestsPerMinute: 5 }, revokedAt: null, lastUsedAt: null });
    expect(agent.keys).toMatchObject([{ prefix: "hr_abcdef", expiresAt: null }]);
    expect(await list("listed")).toEqual([agent]);
  });

  test("a name belongs to one valid agent and is free again after that was revoked", async () => {
    const agent = await create("taken");
    await expect(create("taken")).rejects.toMatchObject({ code: "conflict" });
    expect(await revoke(agent.id)).toEqual({ revoked: true });
    expect(await revoke(agent.id)).toEqual({ revoked: false });
    await create("taken", {}, "2026-11-21T10:00:00.000Z");
    const agents = await list("taken");
    expect(agents.map(({ revokedAt, keys }) => [revokedAt === null, keys.length])).toEqual([
      [true, 1],
      [false, 0],
    ]);
  });

  test("two changes of different settings are both kept, and null is a value", async () => {
    const { id } = await create("changed", { requestsPerMinute: 5, maxClass: "low" });
    const update = (change: object) => call("agents_update", { agent_id: id, change }, Agent.nullable());
    await Promise.all([
      update({ settings: { requestsPerMinute: null } }),
      update({ name: "renamed", settings: { enabled: false } }),
    ]);
    const [agent] = await list("renamed");
    expect(agent?.settings).toEqual({ requestsPerMinute: null, maxClass: "low", enabled: false });
    await revoke(id);
    expect(await update({ name: "again" })).toBeNull();
  });

  test("a rotation keeps the newest old key for the overlap and never more than two", async () => {
    const { id, keys } = await create("rotated");
    const once = await rotate(id, 3600);
    expect(once?.keys).toHaveLength(2);
    expect(once?.keys[0]?.expiresAt).toBeNull();
    expect(once?.keys[1]).toMatchObject({ id: keys[0]?.id });
    const twice = await rotate(id, 3600);
    expect(twice?.keys.map((key) => key.id).slice(1)).toEqual([once?.keys[0]?.id]);
    const atOnce = await rotate(id, 0);
    expect(atOnce?.keys).toHaveLength(1);
    await revoke(id);
    expect(await rotate(id, 0)).toBeNull();
    await expect(rotate(id, -1)).rejects.toMatchObject({ code: "invalid_input" });
  });

  test("rotations at the same time leave two live keys", async () => {
    const { id } = await create("raced");
    await Promise.all(Array.from({ length: 6 }, () => rotate(id, 3600)));
    expect((await list("raced"))[0]?.keys).toHaveLength(2);
  });

  test("the last use never goes back", async () => {
    const { id, keys } = await create("used");
    const used = (lastUsedAt: string) =>
      call("agent_keys_used", { keys: [{ id: keys[0]?.id, lastUsedAt }] }, z.object({ updated: z.int() }));
    expect(await used("2026-11-22T10:00:00.000Z")).toEqual({ updated: 1 });
    await used("2026-11-21T10:00:00.000Z");
    const [agent] = await list("used");
    expect(agent).toMatchObject({ id, lastUsedAt: "2026-11-22T10:00:00.000Z" });
  });

  test("what an agent spends is summed by its id and UTC day, each call once", async () => {
    const agentKeyId = createId();
    const day = new Date(Math.floor(Date.now() / 86_400_000) * 86_400_000 - 86_400_000);
    const at = (hours: number) => new Date(day.getTime() + hours * 3_600_000).toISOString();
    const rows = [
      callRecord({ agentKeyId, costNanoUsd: 5, startedAt: at(0) }),
      callRecord({ agentKeyId, costNanoUsd: 7, startedAt: at(23.999), agent: "renamed since" }),
      callRecord({ agentKeyId, costNanoUsd: null, startedAt: at(23) }),
      callRecord({ agentKeyId, costNanoUsd: 11, startedAt: at(24) }),
      callRecord({ agentKeyId: null, costNanoUsd: 1_000, startedAt: at(1) }),
    ];
    await call("calls_record", { rows }, z.unknown());
    await call("calls_record", { rows: [...rows].reverse() }, z.unknown());
    const Spend = z.object({ spend: z.array(z.object({ agentId: z.uuid() }).loose()) });
    const { spend } = await call("agents_spend", { since: at(0) }, Spend);
    expect(spend.filter(({ agentId }) => agentId === agentKeyId)).toEqual([
      { agentId: agentKeyId, day: at(0), costNanoUsd: 12, unpricedCalls: 1 },
      { agentId: agentKeyId, day: at(24), costNanoUsd: 11, unpricedCalls: 0 },
    ]);
  });

  test("an upstream is changed in what is given, and its name is taken", async () => {
    const Upstream = z.object({ id: z.uuid(), name: z.string(), secret: z.string(), enabled: z.boolean() }).loose();
    const upstream = { kind: "api", baseUrl: "https://a.test", secret: "v1.x", maskedKey: "…", enabled: true };
    const make = (name: string) =>
      call("upstreams_create", { upstream: { id: createId(), name, ...upstream } }, Upstream);
    const { id } = await make("second");
    await expect(make("second")).rejects.toMatchObject({ code: "conflict" });
    const changed = await call("upstreams_update", { upstream_id: id, change: { enabled: false } }, Upstream);
    expect(changed).toMatchObject({ id, name: "second", ...upstream, enabled: false });
    const remove = () => call("upstreams_delete", { upstream_id: id }, z.object({ deleted: z.boolean() }));
    expect(await remove()).toEqual({ deleted: true });
    expect(await remove()).toEqual({ deleted: false });
  });
}
