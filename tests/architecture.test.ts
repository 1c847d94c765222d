import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, test } from "vitest";

/** The folders of `lib/` in import order: a file imports only from its own folder and those above it. */
const ORDER = [
  "kit",
  "http1",
  "settings",
  "anthropic",
  "traffic",
  "database",
  "access",
  "limits",
  "usage",
  "reconciliation",
  "alerts",
  "gateway",
  "overview",
  "simulator",
  "http.ts",
  "runtime.ts",
];
const TOP = new Set([
  ...["app", "components", "lib", "supabase", "tests", "public", ".ci"],
  ...[
    "server.ts",
    "next.config.js",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "biome.json",
    "vitest.config.ts",
  ],
  ...["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"],
  ...[".env.example", ".gitignore", ".npmrc"],
]);
const DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];

const root = resolve(import.meta.dirname, "..");
const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((path) => path !== "" && existsSync(join(root, path)));
const sources = files.filter((path) => /\.tsx?$/.test(path));

type Import = { from: string; to: string; typeOnly: boolean };

/** Every import of a file: a path from the root for the project's own, the package's name for others. */
function importsOf(path: string): Import[] {
  const text = readFileSync(join(root, path), "utf8");
  const pattern =
    /^\s*(import|export)\s+(type\s)?[^;"'`]*?from\s*["']([^"']+)["']|^\s*import\s*["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)/gm;
  return [...text.matchAll(pattern)].map((match) => {
    const named = match[3] ?? match[4] ?? match[5] ?? "";
    const own = named.startsWith(".")
      ? relative(root, resolve(root, dirname(path), named))
      : named.startsWith("#")
        ? named.slice(1)
        : null;
    return { from: path, to: own ?? named, typeOnly: match[2] !== undefined };
  });
}

const imports = sources.flatMap(importsOf);
const say = ({ from, to }: Import) => `${from} imports ${to}`;
const within = (folder: string) => (path: string) => path.startsWith(`${folder}/`);
const packageIs = (pattern: RegExp) => (found: Import) => pattern.test(found.to);

function rankOf(path: string): number {
  return ORDER.indexOf(path.split("/")[1] ?? "");
}

describe("imports", () => {
  test("run one way through lib", () => {
    const backwards = imports.filter(
      ({ from, to }) => within("lib")(from) && within("lib")(to) && rankOf(to) > rankOf(from),
    );
    // The one door glue asks for the runtime that it serves.
    expect(backwards.filter(({ from, to }) => !(from === "lib/http.ts" && to === "lib/runtime.ts")).map(say)).toEqual(
      [],
    );
  });

  test("know every folder of lib", () => {
    const unknown = files.filter((path) => within("lib")(path) && rankOf(path) < 0);
    expect(unknown).toEqual([]);
  });

  test("never lead from lib or components back to app, nor from lib to components", () => {
    const wrong = imports.filter(
      ({ from, to }) =>
        (within("lib")(from) && (within("app")(to) || within("components")(to))) ||
        (within("components")(from) && within("app")(to)),
    );
    expect(wrong.map(say)).toEqual([]);
  });

  test("of Next and React stay in app, components and the door glue", () => {
    const wrong = imports
      .filter(packageIs(/^(next|react|react-dom|@mantine|@tabler|@tanstack)(\/|$)/))
      .filter(({ from }) => !/^(app|components|tests)\//.test(from) && !["lib/http.ts", "server.ts"].includes(from));
    expect(wrong.map(say)).toEqual([]);
  });

  test("of recharts stay in components/charts", () => {
    const wrong = imports.filter(packageIs(/^recharts/)).filter(({ from }) => !within("components/charts")(from));
    expect(wrong.map(say)).toEqual([]);
  });

  test("of supabase-js stay in one file", () => {
    const wrong = imports
      .filter(packageIs(/^@supabase\//))
      .filter(({ from }) => from !== "lib/database/database.ts" && !within("tests")(from));
    expect(wrong.map(say)).toEqual([]);
  });

  test("of the runtime are for doors and tests", () => {
    const wrong = imports
      .filter(({ to }) => to === "lib/runtime.ts")
      .filter(
        ({ from, typeOnly }) =>
          !/^(app|tests)\//.test(from) && !["server.ts", "lib/http.ts"].includes(from) && !typeOnly,
      );
    expect(wrong.map(say)).toEqual([]);
  });

  test("of components from lib are kit, schemas and the table of pools, or types", () => {
    const wrong = imports
      .filter(({ from, to, typeOnly }) => within("components")(from) && within("lib")(to) && !typeOnly)
      .filter(({ to }) => !/^lib\/(kit\/|.*schema\.ts$|anthropic\/pools\.ts$)/.test(to));
    expect(wrong.map(say)).toEqual([]);
  });
});

describe("the tree", () => {
  test("has the top level that it is documented to have", () => {
    expect([...new Set(files.map((path) => path.split("/")[0] ?? ""))].filter((name) => !TOP.has(name))).toEqual([]);
  });

  test("names files in kebab-case", () => {
    const odd = sources.filter((path) => !/^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(path.split("/").at(-1) ?? ""));
    expect(odd).toEqual([]);
  });

  test("keeps files short enough to hold one idea", () => {
    const long = sources
      .map((path) => ({ path, lines: readFileSync(join(root, path), "utf8").split("\n").length }))
      .filter(({ path, lines }) => lines > 400 && !within("tests")(path));
    expect(long).toEqual([]);
  });

  test("records no download addresses in the lock file", () => {
    expect(readFileSync(join(root, "package-lock.json"), "utf8")).not.toMatch(/"resolved": "https?:/);
  });

  test("pins every dependency to an exact version", () => {
    const manifest: Record<string, Record<string, string>> = JSON.parse(
      readFileSync(join(root, "package.json"), "utf8"),
    );
    const loose = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies }).filter(
      ([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version),
    );
    expect(loose).toEqual([]);
  });
});

describe("documents", () => {
  test.each(DOCUMENTS)("%s names only paths that exist", (document) => {
    const text = readFileSync(join(root, document), "utf8");
    const paths = [
      ...text.matchAll(/[`(]((?:app|components|lib|supabase|tests|public|\.ci)\/[\w./[\]()-]*|server\.ts)[`)]/g),
    ]
      .map((match) => match[1] ?? "")
      .filter((path) => !path.includes("…"));
    expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  test("README names every environment variable that is read", () => {
    const read = [...readFileSync(join(root, "lib/settings/env.ts"), "utf8").matchAll(/^ {2}([A-Z_]{4,}): /gm)].map(
      (match) => match[1] ?? "",
    );
    const readme = readFileSync(join(root, "README.md"), "utf8");
    expect(read.length).toBeGreaterThan(10);
    expect(read.filter((name) => !readme.includes(`\`${name}\``))).toEqual([]);
  });
});
