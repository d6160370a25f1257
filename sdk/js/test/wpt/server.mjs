// Serves a checkout of the web-platform tests to scripts, with the few handlers that the chosen tests need.

import { createReadStream, statSync } from "node:fs";
import http from "node:http";
import path from "node:path";

const TYPES = { ".json": "application/json", ".js": "text/javascript", ".txt": "text/plain", ".html": "text/html" };

const handlers = {
  async "fetch/api/resources/echo-content.py"(request, answer) {
    answer.setHeader("content-type", "text/plain");
    answer.setHeader("x-request-method", request.method);
    answer.end(await read(request));
  },
  "fetch/api/resources/inspect-headers.py"(request, answer, query) {
    for (const name of (query.get("headers") ?? "").split("|")) {
      const value = request.headers[name.toLowerCase()];
      if (value !== undefined) answer.setHeader(`x-request-${name.toLowerCase()}`, value);
    }
    answer.end();
  },
  async "fetch/api/resources/method.py"(request, answer) {
    answer.setHeader("x-request-method", request.method);
    answer.setHeader("x-request-content-length", request.headers["content-length"] ?? "NO");
    answer.setHeader("x-request-content-type", request.headers["content-type"] ?? "NO");
    answer.setHeader("x-request-content-encoding", request.headers["content-encoding"] ?? "NO");
    answer.setHeader("x-request-content-language", request.headers["content-language"] ?? "NO");
    answer.setHeader("x-request-content-location", request.headers["content-location"] ?? "NO");
    answer.end(await read(request));
  },
  "fetch/api/resources/status.py"(_request, answer, query) {
    answer.statusCode = Number(query.get("code") ?? 200);
    answer.statusMessage = query.get("text") ?? "OK";
    if (query.has("type")) answer.setHeader("content-type", query.get("type"));
    answer.end(query.get("content") ?? "");
  },
  "fetch/api/resources/trickle.py"(_request, answer, query) {
    let left = Number(query.get("count") ?? 50);
    answer.setHeader("content-type", "text/plain");
    const step = () => {
      if (answer.destroyed) return;
      if (left === 0) return void answer.end();
      left -= 1;
      answer.write("TEST_TRICKLE\n");
      setTimeout(step, Number(query.get("ms") ?? 500));
    };
    step();
  },
  "fetch/api/resources/redirect.py": redirect,
  "fetch/api/resources/clean-stash.py"(_request, answer, query) {
    counts.delete(query.get("token"));
    answer.end("1");
  },
  "fetch/api/resources/redirect-empty-location.py"(_request, answer) {
    answer.statusCode = 302;
    answer.setHeader("location", "");
    answer.end();
  },
  "fetch/api/resources/stash-take.py"(_request, answer, query) {
    answer.setHeader("content-type", "application/json");
    answer.end(JSON.stringify(stash.get(query.get("key")) ?? null));
    stash.delete(query.get("key"));
  },
  "fetch/api/resources/stash-put.py"(_request, answer, query) {
    stash.set(query.get("key"), query.get("value"));
    answer.end();
  },
  "fetch/api/resources/infinite-slow-response.py"(_request, answer, query) {
    const key = query.get("stateKey");
    if (key) stash.set(key, "open");
    answer.setHeader("content-type", "text/plain");
    const drip = setInterval(() => answer.write("TEST\n".repeat(200)), 10);
    answer.on("close", () => {
      clearInterval(drip);
      if (key) stash.set(key, "closed");
    });
  },
};

const counts = new Map();
const stash = new Map();

function redirect(request, answer, query) {
  request.resume();
  if (query.has("token")) {
    const token = query.get("token");
    counts.set(token, (counts.get(token) ?? 0) + 1);
    if (counts.get(token) > Number(query.get("max_count") ?? Infinity)) {
      return void answer.end(`${counts.get(token) - 1}`);
    }
  }
  answer.statusCode = Number(query.get("redirect_status") ?? 302);
  if (query.has("location")) {
    let location = query.get("location");
    if (query.has("token")) {
      const rest = new URLSearchParams(query);
      rest.delete("location");
      const here = new URLSearchParams({ ...Object.fromEntries(rest), location });
      location += `?${here}`;
    }
    answer.setHeader("location", location);
  }
  answer.end();
}

async function read(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Listens on a port of its own; `{ port, close }`. */
export async function serve(root) {
  const server = http.createServer((request, answer) => {
    const url = new URL(request.url, "http://127.0.0.1");
    const name = decodeURIComponent(url.pathname).replace(/^\/+/, "");
    const handler = handlers[name];
    if (handler !== undefined) return void handler(request, answer, url.searchParams, url);
    const file = path.join(root, path.normalize(`/${name}`));
    let found = false;
    try {
      found = statSync(file).isFile();
    } catch {
      // Not there.
    }
    if (!found) {
      answer.statusCode = 404;
      return void answer.end();
    }
    answer.setHeader("content-type", TYPES[path.extname(file)] ?? "application/octet-stream");
    createReadStream(file).pipe(answer);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: server.address().port,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
