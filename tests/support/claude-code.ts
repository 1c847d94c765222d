import { execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

const VERSION = "2.1.330";
const FOLDER = resolve(import.meta.dirname, "../../.cache/claude-code");

export type ClaudeCodeRun = { code: number | null; stdout: string; stderr: string; elapsedMs: number };

/**
 * Runs the real Claude Code once, without a terminal, against a base URL: `claude -p prompt …args`. It gets a home and a
 * working folder of its own and nothing of this process's environment but the path. Installed when first asked for, not
 * a dependency: it weighs 370 MB.
 */
export async function runClaudeCode(options: {
  baseUrl: string;
  prompt: string;
  args?: readonly string[];
  apiKey?: string;
  env?: Record<string, string>;
  timeoutMs?: number;
}): Promise<ClaudeCodeRun> {
  const program = await installClaudeCode();
  const home = mkdtempSync(join(tmpdir(), "headroom-claude-code-"));
  const begun = performance.now();
  try {
    return await new Promise((done, fail) => {
      const child = spawn(program, ["-p", options.prompt, ...(options.args ?? [])], {
        cwd: home,
        env: {
          PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
          HOME: home,
          NODE_ENV: "production",
          ANTHROPIC_BASE_URL: options.baseUrl,
          ANTHROPIC_API_KEY: options.apiKey ?? "sk-ant-test",
          CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
          // It refuses some modes to root, as which containers run their tests.
          IS_SANDBOX: "1",
          ...options.env,
        },
        stdio: ["ignore", "pipe", "pipe"],
        timeout: options.timeoutMs ?? 60_000,
      });
      let stdout = "";
      let stderr = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        stdout += text;
      });
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        stderr += text;
      });
      child.on("error", fail);
      child.on("close", (code) => done({ code, stdout, stderr, elapsedMs: performance.now() - begun }));
    });
  } finally {
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** The program's path, after installing it if it is not there. */
export async function installClaudeCode(): Promise<string> {
  const program = join(FOLDER, "node_modules/.bin/claude");
  if (existsSync(program)) return program;
  mkdirSync(FOLDER, { recursive: true });
  // Its install script only links the platform's own binary; some versions of npm do not run it unasked.
  const npm = ["install", "--prefix", FOLDER, "--no-save", "--no-audit", "--no-fund", "--foreground-scripts"];
  await promisify(execFile)("npm", [...npm, `@anthropic-ai/claude-code@${VERSION}`], { timeout: 300_000 });
  const packageFolder = join(FOLDER, "node_modules/@anthropic-ai/claude-code");
  await promisify(execFile)(process.execPath, ["install.cjs"], { cwd: packageFolder });
  return program;
}
