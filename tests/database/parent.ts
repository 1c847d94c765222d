import { startEmbedded } from "../../lib/database/embedded/start-embedded.ts";
import { silentLog } from "../../lib/kit/log.ts";

// A parent of the database's owner, for tests that kill it.
const started = await startEmbedded({ dataDir: process.argv[2] ?? "", log: silentLog, logLevel: "error" });
console.log(started.address.url);
setInterval(() => {}, 60_000);
