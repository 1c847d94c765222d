import { once } from "node:events";
import { connect } from "node:net";
import { readAnswers, statusOf } from "./http-wire.ts";

/** Writes the pieces one by one; everything that comes until the server closes, or until so many answers are whole. */
export async function speak(
  url: string,
  pieces: readonly string[],
  answers = Number.POSITIVE_INFINITY,
): Promise<Buffer> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  const received: Buffer[] = [];
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    received.push(chunk);
    const whole = readAnswers(Buffer.concat(received), ["GET", "GET"]).filter(
      (answer) => answer.whole && answer.framing !== "close",
    );
    if (whole.filter(({ startLine }) => statusOf(startLine) >= 200).length >= answers) socket.destroy();
  });
  await once(socket, "connect");
  const closed = once(socket, "close");
  for (const piece of pieces) {
    await new Promise<void>((written) => socket.write(piece, "latin1", () => setImmediate(written)));
  }
  await closed;
  return Buffer.concat(received);
}
