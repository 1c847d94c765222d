import { expect, test } from "vitest";
import { GrowingBody } from "../../lib/gateway/growing-body.ts";
import { Random } from "../support/random.ts";

test("a body is what came, however it was cut, and so are its ends", () => {
  const random = new Random(11);
  for (let run = 0; run < 300; run += 1) {
    const bytes = Buffer.from(Array.from({ length: random.int(200_000) }, () => random.int(256)));
    const body = new GrowingBody(bytes.length);
    const largest = random.pick([1_000, 9_000, 70_000]);
    for (let at = 0; at < bytes.length; ) {
      const end = at + 1 + random.int(largest);
      // A door may use its buffer again for what it gathers, but not for what it hands over.
      expect(body.push(Uint8Array.from(bytes.subarray(at, end)))).toBe(false);
      at = end;
    }
    const collected = body.take();
    const [front, tail] = [random.int(bytes.length + 10), random.int(bytes.length + 10)];
    expect(collected.length).toBe(bytes.length);
    expect(collected.whole().equals(bytes)).toBe(true);
    expect(collected.front(front).equals(bytes.subarray(0, front))).toBe(true);
    expect(collected.tail(tail).equals(bytes.subarray(Math.max(bytes.length - tail, 0)))).toBe(true);
  }
});

test("a body in tiny pieces takes hardly more room than its bytes", () => {
  const body = new GrowingBody(1_000_000);
  for (let at = 0; at < 300_000; at += 1) body.push(Uint8Array.of(at & 255));
  const { chunks, length } = body.take();
  expect(length).toBe(300_000);
  expect(chunks.length).toBeLessThan(8);
});

test("one byte too many is told once, and nothing is kept", () => {
  const body = new GrowingBody(10);
  expect([body.push(Buffer.alloc(10)), body.push(Buffer.alloc(1)), body.push(Buffer.alloc(1))]).toEqual([
    false,
    true,
    false,
  ]);
  expect(body.isTooLong).toBe(true);
  expect(body.take().length).toBe(0);
});

test("a body's memory is given back where it is the body's alone, and nowhere else", () => {
  const half = Buffer.poolSize / 2;
  const memory = () => new Uint8Array(2 * half).fill(1);
  const collect = (piece: Uint8Array, isOwner: boolean) => {
    const body = new GrowingBody(10 * half, isOwner);
    body.push(piece);
    return body.take();
  };
  const own = memory();
  const behindHead = memory();
  const beforeOthers = memory();
  const notOwn = memory();
  collect(own, true).free();
  collect(behindHead.subarray(100), true).free();
  collect(beforeOthers.subarray(0, 2 * half - 1), true).free();
  collect(notOwn, false).free();
  expect([own, behindHead, beforeOthers, notOwn].map(({ length }) => length)).toEqual([0, 0, 2 * half, 2 * half]);
  // Node cuts buffers up to this size out of memory that others have parts of.
  const shared = Buffer.allocUnsafe(half - 1);
  const neighbour = Buffer.from("somebody else's");
  collect(shared, true).free();
  expect([shared.length, neighbour.toString()]).toEqual([half - 1, "somebody else's"]);
});
