import { describe } from "vitest";
import { hasPostgres } from "../support/postgres.ts";
import { openPostgresBackend } from "./backends.ts";
import { databaseSuite } from "./suite.ts";

describe.skipIf(!hasPostgres())("real", () => databaseSuite("PostgreSQL behind the handler", openPostgresBackend));
