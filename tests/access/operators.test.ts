import { expect, test } from "vitest";
import { Operators } from "../../lib/access/operators.ts";
import { ManualClock } from "../../lib/kit/clock.ts";
import { SecretBox } from "../../lib/kit/secret-box.ts";

const box = new SecretBox(Buffer.alloc(32, 7));
const make = (clock = new ManualClock(), adminToken = "correct-horse-battery") =>
  new Operators({ adminToken, box, clock });

test("the set-up token opens one session and is then worth nothing", () => {
  const operators = make();
  const token = operators.setupToken ?? "";
  const session = operators.signIn(token);
  expect(operators.isSession(session ?? "")).toBe(true);
  expect(operators.signIn(token)).toBeNull();
});

test("the admin token opens sessions, anything else does not", () => {
  const operators = make();
  expect(operators.isSession(operators.signIn("correct-horse-battery") ?? "")).toBe(true);
  expect(operators.signIn("correct-horse-batterx")).toBeNull();
  expect(operators.signIn("")).toBeNull();
});

test("a session ends after 30 days, and with the admin token it was made under", () => {
  const clock = new ManualClock();
  const operators = make(clock);
  const session = operators.signIn("correct-horse-battery") ?? "";
  expect(make(clock, "another-admin-token").isSession(session)).toBe(false);
  clock.advance(30 * 24 * 3_600_000 + 1);
  expect(operators.isSession(session)).toBe(false);
});

test("a cookie that was changed in any byte is no session", () => {
  const operators = make();
  const session = operators.signIn("correct-horse-battery") ?? "";
  for (let at = 3; at < session.length; at += 7) {
    const changed = session.slice(0, at) + (session[at] === "A" ? "B" : "A") + session.slice(at + 1);
    expect(operators.isSession(changed)).toBe(false);
  }
});
