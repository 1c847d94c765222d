import { createHash, randomUUID } from "node:crypto";
import { openAsBlob } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Migration, migrate, readMigrations } from "../migrate.ts";
import { dumpPglite } from "./pglite.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/**
 * A finished data folder as an archive: opening a copy takes a third of a second where making one takes several. It
 * depends on PGlite's version, for its data format, and on the migrations in it. Null when it was never prepared.
 */
export async function findTemplate(migrations: readonly Migration[]): Promise<Blob | null> {
  try {
    return await openAsBlob(await templatePath(migrations));
  } catch {
    return null;
  }
}

/** Makes the template unless it is there. Several processes may do so at once: each writes its own and renames it. */
export async function prepareTemplate(): Promise<Blob> {
  const migrations = await readMigrations();
  const found = await findTemplate(migrations);
  if (found) return found;
  const archive = await dumpPglite(async (engine) => {
    await migrate(engine, migrations);
  });
  const path = await templatePath(migrations);
  await mkdir(dirname(path), { recursive: true });
  const unfinished = `${path}.${randomUUID()}`;
  await writeFile(unfinished, archive.stream());
  await rename(unfinished, path);
  return openAsBlob(path);
}

async function templatePath(migrations: readonly Migration[]): Promise<string> {
  const manifest: unknown = JSON.parse(
    await readFile(join(ROOT, "node_modules/@electric-sql/pglite/package.json"), "utf8"),
  );
  const version =
    typeof manifest === "object" && manifest !== null && "version" in manifest ? String(manifest.version) : "unknown";
  const hash = createHash("sha256");
  for (const migration of migrations) hash.update(`${migration.version}\n${migration.sql}\n`);
  return join(ROOT, ".cache", "database", `pglite-${version}-${hash.digest("hex").slice(0, 16)}.tar`);
}

if (import.meta.main) await prepareTemplate();
