import { execFileSync } from "node:child_process";

/** The process that owns a server's embedded database. Throws when there is none at the moment. */
export function ownerOf(serverPid: number): number {
  const processes = execFileSync("ps", ["-A", "-o", "pid=,ppid=,args="], { encoding: "utf8" });
  for (const line of processes.split("\n")) {
    const [, pid, parent, program = ""] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    if (Number(parent) === serverPid && program.includes("embedded/owner.ts")) return Number(pid);
  }
  throw new Error(`the server ${serverPid} has no database process`);
}
