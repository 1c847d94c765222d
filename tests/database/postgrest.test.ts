import { describe } from "vitest";
import { hasPostgres } from "../support/postgres.ts";
import { openPostgrestBackend } from "./backends.ts";
import { databaseSuite } from "./suite.ts";

describe.skipIf(!hasPostgres())("real", () => databaseSuite("PostgreSQL behind PostgREST", openPostgrestBackend));
