/**
 * Loaded into each process under test before its own program: tells over IPC what the operating system has charged the
 * process with, and ends it with its parent. Processes that this one starts inherit the flag that loads it, but not the
 * variable that wakes it.
 */
if (process.env.GATEWAY_BENCH_PROBE) {
  delete process.env.GATEWAY_BENCH_PROBE;
  process.on("message", (message) => {
    if (message !== "usage") return;
    const { user, system } = process.cpuUsage();
    process.send?.({ kind: "usage", cpuUs: user + system, rssBytes: process.memoryUsage.rss() });
  });
  process.on("disconnect", () => process.exit(0));
  // The channel alone must not keep a process from ending.
  process.channel?.unref();
}
