import { join } from "node:path";
import { buildDashboard } from "../../lib/settings/build-dashboard.ts";
import { ADMIN_TOKEN, makeDataDir, ROOT, spawnServer, type TestServer, testServer } from "./server.ts";

/** Starts Headroom as it runs where no custom server can: `next start`, on the build that `npm start` uses too. */
export async function startNextServer(options: {
  upstreamUrl: string;
  env?: Record<string, string>;
}): Promise<TestServer> {
  await buildDashboard(ROOT, new AbortController().signal);
  const dataDir = makeDataDir();
  const { child, output, said } = spawnServer(
    {
      HEADROOM_DATA_DIR: dataDir,
      HEADROOM_UPSTREAM_URL: options.upstreamUrl,
      HEADROOM_ADMIN_TOKEN: ADMIN_TOKEN,
      NEXT_TELEMETRY_DISABLED: "1",
      ...options.env,
    },
    [join(ROOT, "node_modules/next/dist/bin/next"), "start", "--hostname", "127.0.0.1", "--port", "0"],
  );
  const text = await output(/Ready in/);
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(text)?.[0] ?? "";
  return testServer({ child, said, dataDir, url, setupUrl: "" });
}
