import type { Server, ServerResponse } from "node:http";

/**
 * Answers `Expect: 100-continue` (RFC 9110, 10.1.1) when the turn of the call has come. Node by itself answers at once,
 * and for a call that was pipelined behind another the "100 Continue" then ends up between head and body of its answer.
 */
export function meetExpectations(server: Server): void {
  server.on("checkContinue", (req, res: ServerResponse) => {
    if (res.socket !== null) res.writeContinue();
    else {
      res.once("socket", () => {
        // What is answered already needs no body any more.
        if (!res.headersSent) res.writeContinue();
      });
    }
    server.emit("request", req, res);
  });
}
