import type { Runtime } from "../../lib/runtime.ts";

/**
 * Loaded into each process under test before its own program: tells over IPC what the operating system has charged the
 * process with, and when all that its calls have caused is done; ends it with its parent. Processes that this one starts
 * inherit the flag that loads it, but not the variable that wakes it.
 */
if (process.env.GATEWAY_BENCH_PROBE) {
  delete process.env.GATEWAY_BENCH_PROBE;
  process.on("message", (message) => {
    if (message === "usage") {
      const { user, system } = process.cpuUsage();
      process.send?.({ kind: "usage", cpuUs: user + system, rssBytes: process.memoryUsage.rss() });
    }
    if (message === "settle") void settle();
  });
  process.on("disconnect", () => process.exit(0));
  // The channel alone must not keep a process from ending.
  process.channel?.unref();
}

/** Asked in here and not at `/metrics`: that would charge the calls with what the dashboard's server costs to ask. */
async function settle(): Promise<void> {
  // Where lib/runtime.ts keeps it; importing that would be a second one.
  const store = globalThis as { [key: symbol]: Promise<Runtime> | undefined };
  const runtime = await store[Symbol.for("headroom.runtime")];
  const look = () => {
    if (runtime === undefined || runtime.spoolRows === 0) process.send?.({ kind: "settled" });
    else setTimeout(look, 20);
  };
  look();
}
