import { afterAll, beforeAll, describe } from "vitest";
import { accessSuite } from "./access-suite.ts";
import type { Backend } from "./backends.ts";
import { contractSuite } from "./contract-suite.ts";
import { foundationSuite } from "./foundation-suite.ts";
import { histogramSuite } from "./histogram-suite.ts";
import { limitsSuite } from "./limits-suite.ts";
import { privilegesSuite } from "./privileges-suite.ts";
import { reconciliationSuite } from "./reconciliation-suite.ts";
import { usageSuite } from "./usage-suite.ts";

export type Open = () => Backend;

/** The same guarantees on every engine: what a database answers must not depend on where it runs. */
export function databaseSuite(name: string, open: () => Promise<Backend>): void {
  describe(name, () => {
    let backend: Backend;
    beforeAll(async () => {
      backend = await open();
    });
    afterAll(() => backend?.close());
    const current = () => backend;

    contractSuite(current);
    privilegesSuite(current);
    foundationSuite(current);
    usageSuite(current);
    histogramSuite(current);
    limitsSuite(current);
    accessSuite(current);
    reconciliationSuite(current);
  });
}
