import { messageOf } from "../kit/errors.ts";
import { runAgentsCommand } from "./agents-cli.ts";

if (import.meta.main) {
  runAgentsCommand(process.argv.slice(2), process.env).then(
    (text) => process.stdout.write(text),
    (error: unknown) => {
      process.stderr.write(`${messageOf(error)}\n`);
      process.exitCode = 1;
    },
  );
}
