import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "../kit/errors.ts";

const SOURCES = ["app", "components", "lib", "public", "next.config.js", "package-lock.json", "tsconfig.json"];

/** What Next says when another process builds in the same folder. */
const ELSEWHERE = "Another next build process is already running";
const LOOK_AGAIN_MS = 3_000;

/**
 * Builds the dashboard with Next unless it stands built from these very sources, or waits for another start that builds
 * it. Throws `misconfigured` with the end of the build's output when it fails.
 */
export async function buildDashboard(root: string, signal: AbortSignal): Promise<void> {
  const stamp = join(root, ".next", "headroom-sources");
  const sources = fingerprint(root);
  const isBuilt = () => existsSync(stamp) && readFileSync(stamp, "utf8") === sources;
  if (isBuilt()) return;
  process.stdout.write("\n  Building the dashboard; the next start will be quick.\n");
  while (!(await build(root, signal))) {
    await delay(LOOK_AGAIN_MS, undefined, { signal });
    if (isBuilt()) return;
  }
  writeFileSync(stamp, sources);
}

/** False when another process is at it. */
function build(root: string, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, "node_modules/next/dist/bin/next"), "build"], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NODE_ENV: "production", NEXT_TELEMETRY_DISABLED: "1" },
      signal,
    });
    let output = "";
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4_000);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0 || output.includes(ELSEWHERE)) return resolve(code === 0);
      reject(new AppError("misconfigured", `The dashboard did not build. Run "npm ci" and start again.\n\n${output}`));
    });
  });
}

function fingerprint(root: string): string {
  const hash = createHash("sha256");
  for (const source of SOURCES) {
    const path = join(root, source);
    if (!existsSync(path)) continue;
    const files = readdirSync(root, { withFileTypes: true }).some(
      (entry) => entry.name === source && entry.isDirectory(),
    )
      ? readdirSync(path, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => join(entry.parentPath, entry.name))
          .sort()
      : [path];
    for (const file of files) hash.update(file.slice(root.length)).update("\0").update(readFileSync(file)).update("\0");
  }
  return hash.digest("hex");
}
