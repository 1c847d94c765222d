import { expect, test } from "vitest";
import { SecretBox } from "../../lib/kit/secret-box.ts";

const box = new SecretBox(Buffer.alloc(32, 1));

test("what was sealed opens for its purpose, with its key, and not otherwise", () => {
  const sealed = box.seal("whsec_abc", "channel");
  expect(sealed).not.toContain("whsec");
  expect(box.open(sealed, "channel")).toBe("whsec_abc");
  expect(() => box.open(sealed, "upstream")).toThrow();
  expect(() => new SecretBox(Buffer.alloc(32, 2)).open(sealed, "channel")).toThrow();
});

test("sealing twice gives two different texts, hashing twice the same one", () => {
  expect(box.seal("a", "channel")).not.toBe(box.seal("a", "channel"));
  expect(box.hash("a", "agent-key")).toBe(box.hash("a", "agent-key"));
  expect(box.hash("a", "agent-key")).not.toBe(box.hash("a", "session"));
});

test("a short master key is refused", () => {
  expect(() => new SecretBox(Buffer.alloc(16))).toThrow(/32 bytes/);
});
