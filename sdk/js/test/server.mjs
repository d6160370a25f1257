// A server for the tests of fetch: it tells what it was sent, and answers in the ways that a test asks for.

import http from "node:http";

/** `{ base, seen, close }`; `routes` by path: `(request, answer, body) => …`. */
export async function serve(routes = {}) {
  const seen = [];
  const server = http.createServer(async (request, answer) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    const body = Buffer.concat(pieces);
    const path = request.url.split("?", 1)[0];
    seen.push({ method: request.method, url: request.url, headers: request.headers, body });
    const route = routes[path];
    if (route !== undefined) return void route(request, answer, body);
    answer.setHeader("content-type", "application/json");
    answer.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body: body.toString() }));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    base: `http://127.0.0.1:${server.address().port}`,
    seen,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
