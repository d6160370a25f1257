// fetch in the sandbox itself, where DEPUTY_BIN names a built `deputy`: the engine, the runner and the host together.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { serve } from "./server.mjs";

const deputy = process.env.DEPUTY_BIN;
const skip = deputy ? false : "DEPUTY_BIN names no deputy";

async function run(base, body) {
  const folder = mkdtempSync(join(tmpdir(), "deputy-sandbox-"));
  const address = new URL(base).host;
  writeFileSync(join(folder, "deputy.toml"), `[egress]\nallow = ["${address}"]\nplain = ["${address}"]\n`);
  const step = join(folder, "step.js");
  writeFileSync(step, `export default async function () { const base = "${base}"; ${body} }`);
  const flags = ["step", "run", step, "--json", "--config", folder, "--data", join(folder, "data")];
  const text = await new Promise((resolve) => {
    execFile(deputy, flags, { maxBuffer: 64 << 20 }, (_error, stdout, stderr) => resolve(stdout || stderr));
  });
  rmSync(folder, { recursive: true });
  return JSON.parse(text);
}

test("ten fetches are on their way at once; bodies stream; redirects are followed; abort ends a request", { skip }, async () => {
  const waiting = [];
  let ended = 0;
  const server = await serve({
    "/ten": (_request, answer) => {
      waiting.push(answer);
      if (waiting.length === 10) for (const [at, one] of waiting.entries()) one.end(`${at}`);
    },
    "/slow": (_request, answer) => {
      answer.write("begun");
      answer.on("close", () => (ended += 1));
    },
    "/never": (request) => request.socket.on("close", () => (ended += 1)),
    "/pieces": async (_request, answer) => {
      for (const piece of ["one ", "two ", "thr€e"]) {
        answer.write(piece);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      answer.end();
    },
    "/to": (_request, answer) => answer.writeHead(302, { location: "/end" }).end(),
    "/cut": (_request, answer) => {
      answer.setHeader("content-length", "100");
      answer.write("half");
      setTimeout(() => answer.destroy(), 20);
    },
  });
  const { output, error } = await run(server.base, `
    const ten = await Promise.all(Array.from({ length: 10 }, () => fetch(base + "/ten").then((answer) => answer.text())));
    const pieces = [];
    for await (const piece of (await fetch(base + "/pieces")).body.pipeThrough(new TextDecoderStream())) pieces.push(piece);
    const form = new FormData();
    form.append("f", new Blob(["dätä"]), "n.txt");
    const posted = await (await fetch(base + "/post", { method: "POST", body: form })).json();
    const moved = await fetch(base + "/to");
    const late = await fetch(base + "/never", { signal: AbortSignal.timeout(50) }).catch((error) => error.name);
    const controller = new AbortController();
    const slow = await fetch(base + "/slow", { signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    const broken = await slow.text().catch((error) => error.name);
    const cut = await fetch(base + "/cut").then((answer) => answer.text()).catch((error) => error.constructor.name);
    const host = await fetch("https://elsewhere.example/").catch((error) => [error.constructor.name, error.cause.code, error.stack.includes("step.js")]);
    return { ten: ten.sort(), pieces: pieces.join(""), posted: [posted.method, posted.body.includes("dätä")], moved: [moved.redirected, moved.url.replace(base, "")], late, broken, cut, host };`);
  assert.equal(error, undefined, JSON.stringify(error));
  assert.deepEqual(output, {
    ten: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    pieces: "one two thr€e",
    posted: ["POST", true],
    moved: [true, "/end"],
    late: "TimeoutError",
    broken: "AbortError",
    cut: "TypeError",
    host: ["TypeError", "denied", true],
  });
  // The two that were aborted are gone at the server as well.
  assert.ok(ended >= 2);
  server.close();
});
