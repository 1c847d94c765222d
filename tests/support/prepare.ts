/**
 * What the tests need besides npm's packages: Chromium and PostgreSQL's programs. On Debian as root they are installed;
 * elsewhere the missing ones are named with what to do.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { findChromium } from "./chromium.ts";
import { findPostgres } from "./postgres-programs.ts";

const needs = [
  { name: "Chromium", found: findChromium, debian: "chromium" },
  { name: "PostgreSQL (initdb, pg_ctl)", found: findPostgres, debian: "postgresql" },
];

const missing = needs.filter(({ found }) => found() === null);
if (missing.length > 0) {
  const packages = missing.map(({ debian }) => debian);
  const apt = existsSync("/usr/bin/apt-get") && process.getuid?.() === 0;
  if (apt) {
    process.stdout.write(`Installing for the tests: ${packages.join(", ")}\n`);
    const run = (args: string[]) =>
      spawnSync("apt-get", args, {
        stdio: ["ignore", "ignore", "inherit"],
        env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
      });
    run(["update", "-qq"]);
    run(["install", "-y", "-qq", "--no-install-recommends", ...packages]);
  }
  const still = missing.filter(({ found }) => found() === null);
  if (still.length > 0) {
    for (const { name, debian } of still) {
      process.stderr.write(
        `The tests need ${name}. On Debian: apt-get install ${debian}. Elsewhere: put it on the PATH.\n`,
      );
    }
    process.exit(1);
  }
}
