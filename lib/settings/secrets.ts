import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { AppError, messageOf } from "../kit/errors.ts";
import type { Env } from "./env.ts";

export type Secrets = {
  /** 32 bytes at least: what is sealed or hashed at rest depends on it. */
  masterKey: Buffer;
  adminToken: string;
  /** Where the admin token is written for scripts on this machine; null when the environment gave it. */
  adminTokenPath: string | null;
};

/** Takes the secrets from the environment, or makes them at the first start and keeps them in the data folder. */
export function readSecrets(env: Env): Secrets {
  const adminTokenPath = join(env.HEADROOM_DATA_DIR, "admin-token");
  return {
    masterKey: Buffer.from(env.HEADROOM_SECRET_KEY ?? keep(join(env.HEADROOM_DATA_DIR, "secret-key"))),
    adminToken: env.HEADROOM_ADMIN_TOKEN ?? keep(adminTokenPath),
    adminTokenPath: env.HEADROOM_ADMIN_TOKEN ? null : adminTokenPath,
  };
}

function keep(path: string): string {
  const value = readOrMake(path);
  if (value.length < 32)
    throw unusable(path, new Error("it holds fewer than 32 characters; delete it to get a new one"));
  return value;
}

function readOrMake(path: string): string {
  try {
    if (!existsSync(path)) {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      writeFileSync(path, randomBytes(32).toString("base64url"), { flag: "wx", mode: 0o600 });
    }
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    throw unusable(path, error);
  }
}

function unusable(path: string, error: unknown): AppError {
  const advice = "Mend the folder's permissions or set HEADROOM_DATA_DIR to another one.";
  return new AppError("misconfigured", `cannot keep a secret in ${path}: ${messageOf(error)}. ${advice}`);
}
