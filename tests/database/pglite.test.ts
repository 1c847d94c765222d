import { openPgliteBackend } from "./backends.ts";
import { databaseSuite } from "./suite.ts";

databaseSuite("PGlite behind the handler", openPgliteBackend);
