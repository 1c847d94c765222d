import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The folder of PostgreSQL's own programs (initdb, pg_ctl), newest version first; null when they are not installed. */
export function findPostgres(): string | null {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...versions.map((version) => join(debian, version, "bin")),
    ...(process.env.PATH ?? "").split(delimiter),
    "/opt/homebrew/opt/postgresql@17/bin",
  ];
  return folders.find((folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "pg_ctl"))) ?? null;
}
