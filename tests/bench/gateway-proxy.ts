import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Pool } from "undici";

/** A bare proxy as one writes it with Node and undici, a process: the floor for anything of the kind. */
const pool = new Pool(process.argv[2] ?? "", { allowH2: false, headersTimeout: 0, bodyTimeout: 0 });

const server = createServer((req, res) => {
  const { host: _host, connection: _connection, "transfer-encoding": _encoding, ...headers } = req.headers;
  const { method = "GET", url: path = "/" } = req;
  pool.request({ path, method, headers, body: req }).then(
    (answer) => {
      const { connection: _c, "keep-alive": _k, "transfer-encoding": _t, ...answerHeaders } = answer.headers;
      res.writeHead(answer.statusCode, answerHeaders);
      answer.body.pipe(res);
    },
    () => res.destroy(),
  );
});
server.listen(0, "127.0.0.1", 4_096, () => {
  process.send?.({ kind: "ready", url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
});
