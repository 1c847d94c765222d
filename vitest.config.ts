import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      { test: { name: "architecture", include: ["tests/architecture.test.ts"] } },
      {
        test: {
          name: "lib",
          include: ["tests/**/*.test.ts"],
          exclude: ["tests/architecture.test.ts", "tests/e2e/**"],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      // Whole product, real processes and Chromium: one file at a time, and after all others, for they need both cores.
      {
        test: {
          name: "e2e",
          include: ["tests/e2e/**/*.test.ts"],
          testTimeout: 180_000,
          hookTimeout: 240_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
