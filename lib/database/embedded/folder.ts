import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { AppError, messageOf } from "../../kit/errors.ts";
import { type Migration, migrate } from "../migrate.ts";
import type { Engine } from "./engine.ts";
import { openPglite } from "./pglite.ts";
import { findTemplate } from "./template.ts";

/**
 * Opens the database in a data folder, and makes it first where there is none: from the template if one was prepared.
 * It is made beside its place and moved there when whole, so that an interrupted first start leaves nothing half made.
 * Call it only while holding the folder's lock.
 */
export async function openFolder(dataDir: string, migrations: readonly Migration[]): Promise<Engine> {
  const folder = join(dataDir, "database");
  if (!existsSync(folder)) await makeFolder(folder, migrations);
  try {
    return await openPglite({ folder });
  } catch (error) {
    throw new AppError(
      "unavailable",
      `The database in ${folder} does not open (${messageOf(error)}): move it aside to begin anew, or restore a copy of it.`,
      { cause: error },
    );
  }
}

async function makeFolder(folder: string, migrations: readonly Migration[]): Promise<void> {
  const unfinished = `${folder}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  const template = await findTemplate(migrations);
  const engine = await openPglite({ folder: unfinished, ...(template ? { template } : {}) });
  await migrate(engine, migrations);
  await engine.script("checkpoint");
  await engine.close();
  await rename(unfinished, folder);
}
