// fetch where it meets the host: what leaves, what comes back, and what stops it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Refusal, Sandbox } from "./host.mjs";
import { serve } from "./server.mjs";

let server;
let arrived = [];

before(async () => {
  server = await serve({
    "/ten": (_request, answer) => {
      // Answers only when all ten have arrived.
      arrived.push(answer);
      if (arrived.length === 10) for (const [at, waiting] of arrived.entries()) waiting.end(`${at}`);
    },
    "/slow": (_request, answer) => {
      answer.flushHeaders();
      answer.write("begun");
    },
    "/never": () => {},
    "/cut": (_request, answer) => {
      answer.setHeader("content-length", "100");
      answer.write("half");
      setTimeout(() => answer.destroy(), 10);
    },
    "/pieces": async (_request, answer) => {
      for (const piece of ["one ", "two ", "thr€e"]) {
        answer.write(piece);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      answer.end();
    },
    "/cookies": (_request, answer) => {
      answer.setHeader("set-cookie", ["a=1", "b=2"]);
      answer.end();
    },
    "/form": (_request, answer) => {
      answer.setHeader("content-type", "multipart/form-data; boundary=xx");
      answer.end('--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--xx\r\nContent-Disposition: form-data; name="f"; filename="f.txt"\r\nContent-Type: text/plain\r\n\r\nfile\r\n--xx--\r\n');
    },
    "/to": (request, answer) => {
      const query = new URL(request.url, "http://x").searchParams;
      answer.statusCode = Number(query.get("status") ?? 302);
      answer.setHeader("location", query.get("where"));
      answer.end("moved");
    },
    "/loop": (_request, answer) => {
      answer.statusCode = 302;
      answer.setHeader("location", "/loop");
      answer.end();
    },
    "/empty": (_request, answer) => {
      answer.statusCode = 204;
      answer.end();
    },
  });
});

after(() => server.close());

/** Runs the body of a native step with `base`, and two accounts of one app. */
async function run(body, options = {}) {
  const facts = (name) => ({ app: "slack", name, identity: null, scopes: [], inputs: {}, markers: {} });
  const accounts = { one: { base: `${server.base}/one`, facts: facts("slack/one") }, two: { base: `${server.base}/two`, facts: facts("slack/two") } };
  const sandbox = new Sandbox({ accounts, ...options });
  const source = `
    export const props = { base: { type: "string" }, one: { type: "app", app: "slack" }, two: { type: "app", app: "slack" } };
    export default async function ({ base }, { accounts }) { ${body} }`;
  const { value } = await sandbox.run(source, { props: { base: server.base } });
  return { value, sandbox };
}

test("ten fetches under Promise.all are on their way before any is awaited", async () => {
  arrived = [];
  const { value, sandbox } = await run(`
    const all = Array.from({ length: 10 }, () => fetch(base + "/ten").then((answer) => answer.text()));
    return (await Promise.all(all)).sort();`);
  assert.deepEqual(value, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
  assert.equal(sandbox.requests.length, 10);
});

test("the request leaves in the turn in which fetch is called", async () => {
  const { sandbox } = await run(`fetch(base + "/a"); accounts.one.fetch("/b"); fetch(new Request(base + "/c"));`);
  assert.deepEqual(sandbox.requests.map(({ url }) => url.replace(server.base, "")), ["/a", "/b", "/c"]);
});

test("accounts of one app never mix, and a path goes below the app's base", async () => {
  const { value, sandbox } = await run(`
    const [a, b] = await Promise.all([
      accounts.one.fetch("/chat.postMessage?x=1", { method: "POST", body: JSON.stringify({ text: "ä" }), headers: { "Content-Type": "application/json" } }),
      accounts.two.fetch("/me", { identity: "bot" }),
    ]);
    return [(await a.json()).url, (await b.json()).url, a.url, a.status];`);
  assert.deepEqual(value, ["/one/chat.postMessage?x=1", "/two/me", "", 200]);
  const [first, second] = sandbox.requests;
  assert.deepEqual([first.prop, first.method, first.url, first.identity], ["one", "POST", "/chat.postMessage?x=1", null]);
  assert.equal(first.body.toString(), '{"text":"ä"}');
  assert.deepEqual([second.prop, second.url, second.identity], ["two", "/me", "bot"]);
  const plain = await run(`const request = new Request(base + "/x", { method: "PUT", body: "b" });
    await accounts.one.fetch(request); await fetch(base + "/y#part"); return request.bodyUsed;`);
  assert.equal(plain.value, true);
  assert.deepEqual(plain.sandbox.requests.map(({ prop, method }) => [prop, method]), [["one", "PUT"], [null, "GET"]]);
  assert.ok(plain.sandbox.requests[1].url.endsWith("/y"), "the fragment stays here");
});

test("bodies of every kind arrive with their type", async () => {
  const { sandbox } = await run(`
    const form = new FormData(); form.append("a", "1"); form.append("f", new Blob(["data"], { type: "text/x" }), "n.txt");
    const stream = new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode("str")); c.enqueue(new TextEncoder().encode("eam")); c.close(); } });
    const bodies = ["text", new Uint8Array([1, 2, 3]).subarray(1), new Uint8Array([9]).buffer, new Blob(["blob"], { type: "a/b" }), new URLSearchParams({ q: "ä b" }), form];
    for (const body of bodies) await fetch(base + "/x", { method: "POST", body });
    await fetch(base + "/x", { method: "POST", body: stream, duplex: "half" });`);
  const sent = sandbox.requests.map(({ headers, body }) => [new Map(headers).get("content-type"), body.toString("latin1")]);
  assert.deepEqual(sent.slice(0, 5), [
    ["text/plain;charset=UTF-8", "text"],
    [undefined, "\x02\x03"],
    [undefined, "\x09"],
    ["a/b", "blob"],
    ["application/x-www-form-urlencoded;charset=UTF-8", "q=%C3%A4+b"],
  ]);
  const [type, body] = sent[5];
  const boundary = type.split("boundary=")[1];
  assert.equal(
    body,
    `--${boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--${boundary}\r\nContent-Disposition: form-data; name="f"; filename="n.txt"\r\nContent-Type: text/x\r\n\r\ndata\r\n--${boundary}--\r\n`,
  );
  assert.deepEqual(sent[6], [undefined, "stream"]);
});

test("headers that frame the message are left to the host, others reach it", async () => {
  const { sandbox } = await run(`await fetch(base, { headers: { Host: "x", "Content-Length": "5", Connection: "close", "Accept-Encoding": "br", "X-Mine": "1", Cookie: "c" } });`);
  const names = sandbox.requests[0].headers.map(([name]) => name).sort();
  assert.deepEqual(names, ["accept", "cookie", "x-mine"]);
});

test("answers are read as text, JSON, bytes, a form or a stream", async () => {
  const { value } = await run(`
    const pieces = [];
    for await (const piece of (await fetch(base + "/pieces")).body) pieces.push(new TextDecoder().decode(piece, { stream: true }));
    const through = (await fetch(base + "/pieces")).body.pipeThrough(new TextDecoderStream());
    let text = ""; for await (const piece of through) text += piece;
    const answer = await fetch(base + "/pieces");
    const clone = answer.clone();
    const form = await (await fetch(base + "/form")).formData();
    const cookies = (await fetch(base + "/cookies")).headers;
    const empty = await fetch(base + "/empty");
    const { length } = await (await fetch(base + "/pieces")).bytes();
    const buffer = await (await fetch(base + "/pieces")).arrayBuffer();
    const blob = await (await fetch(base + "/form")).blob();
    return {
      pieces: pieces.join(""), text, both: [await answer.text(), await clone.text()], used: answer.bodyUsed,
      form: [form.get("a"), await form.get("f").text(), form.get("f").name], cookies: cookies.getSetCookie(),
      empty: [empty.status, empty.body, await empty.text()], length, buffer: buffer.byteLength, blob: blob.type,
    };`);
  assert.deepEqual(value, {
    pieces: "one two thr€e",
    text: "one two thr€e",
    both: ["one two thr€e", "one two thr€e"],
    used: true,
    form: ["1", "file", "f.txt"],
    cookies: ["a=1", "b=2"],
    empty: [204, null, ""],
    length: 15,
    buffer: 15,
    blob: "multipart/form-data;boundary=xx",
  });
});

test("a body is read once, and says so", async () => {
  const { value } = await run(`
    const answer = await fetch(base); await answer.text();
    return answer.json().catch((error) => [error.constructor.name, error.message]);`);
  assert.equal(value[0], "TypeError");
  assert.match(value[1], /read already.*clone\(\)/);
});

test("the host's refusal is a TypeError whose cause has the code and the fix", async () => {
  const refuse = ({ url }) => (url.includes("denied") ? new Refusal("denied", "the operator allows no plain host", "add it to [egress] plain") : undefined);
  const { value } = await run(`
    const told = (error) => [error.constructor.name, error.message, error.cause.code, error.cause.fix ?? null];
    const stack = await fetch(base + "/denied").catch((error) => error.stack);
    if (!stack.includes("step.js")) throw new Error(stack);
    return [await fetch(base + "/denied").catch(told), await fetch("http://127.0.0.1:1/").catch((e) => [e.constructor.name, e.cause.code])];`, { refuse });
  assert.deepEqual(value[0], ["TypeError", "the operator allows no plain host (add it to [egress] plain)", "denied", "add it to [egress] plain"]);
  assert.deepEqual(value[1], ["TypeError", "unreachable"]);
});

test("what is no URL of the web is refused before the host is asked", async () => {
  const { value, sandbox } = await run(`
    const bad = ["/relative", "file:///etc/passwd", "http://user:pass@host/", "data:,x"];
    return Promise.all(bad.map((url) => fetch(url).then(() => "went", (error) => error.constructor.name)));`);
  assert.deepEqual(value, ["TypeError", "TypeError", "TypeError", "TypeError"]);
  assert.equal(sandbox.requests.length, 0);
});

test("abort cancels the request in the host", async () => {
  const { value, sandbox } = await run(`
    const controller = new AbortController();
    const going = fetch(base + "/never", { signal: controller.signal });
    setTimeout(() => controller.abort(), 5);
    const first = await going.catch((error) => error.name);
    const second = await fetch(base + "/never", { signal: AbortSignal.timeout(5) }).catch((error) => error.name);
    const third = await fetch(base, { signal: AbortSignal.abort("mine") }).catch((error) => error);
    const any = await accounts.one.fetch(base + "/never", { signal: AbortSignal.any([AbortSignal.timeout(5), new AbortController().signal]) }).catch((e) => e.name);
    return [first, second, third, any];`);
  assert.deepEqual(value, ["AbortError", "TimeoutError", "mine", "TimeoutError"]);
  assert.equal(sandbox.cancelled, 3);
  assert.equal(sandbox.requests.length, 3, "an aborted signal starts nothing");
});

test("abort breaks a body off and closes it in the host", async () => {
  const { value, sandbox } = await run(`
    const controller = new AbortController();
    const answer = await fetch(base + "/slow", { signal: controller.signal });
    setTimeout(() => controller.abort(), 5);
    const text = await answer.text().catch((error) => error.name);
    const other = new AbortController();
    const reader = (await fetch(base + "/slow", { signal: other.signal })).body.getReader();
    const piece = new TextDecoder().decode((await reader.read()).value);
    other.abort(new Error("enough"));
    return [text, piece, await reader.read().catch((error) => error.message)];`);
  assert.deepEqual(value, ["AbortError", "begun", "enough"]);
  assert.equal(sandbox.closed, 2);
});

test("a stream that is cancelled is closed in the host, and a lost connection is told", async () => {
  const { value, sandbox } = await run(`
    await (await fetch(base + "/slow")).body.cancel();
    return (await fetch(base + "/cut")).text().catch((error) => [error.constructor.name, error.message]);`);
  assert.equal(sandbox.closed, 1);
  assert.equal(value[0], "TypeError");
  assert.match(value[1], /broke off/);
});

test("redirects are followed here, as new requests under the same rules", async () => {
  const { value, sandbox } = await run(`
    const answer = await fetch(base + "/to?where=/end%23x", { headers: { Authorization: "Bearer marker" } });
    const post = await fetch(base + "/to?status=303&where=/end", { method: "POST", body: "b" });
    const kept = await fetch(base + "/to?status=307&where=/end", { method: "POST", body: "b" });
    const manual = await fetch(base + "/to?where=/end", { redirect: "manual" });
    const error = await fetch(base + "/to?where=/end", { redirect: "error" }).catch((e) => e.message);
    const loop = await fetch(base + "/loop").catch((e) => e.message);
    return [answer.redirected, answer.url.replace(base, ""), (await post.json()).method, (await kept.json()).body, manual.status, manual.headers.get("location"), error, loop];`);
  assert.deepEqual(value.slice(0, 6), [true, "/end", "GET", "b", 302, "/end"]);
  assert.match(value[6], /redirect to \/end, which this request refuses/);
  assert.match(value[7], /more than 20 redirects/);
  const authorization = sandbox.requests.slice(0, 2).map(({ headers }) => new Map(headers).get("authorization"));
  assert.deepEqual(authorization, ["Bearer marker", "Bearer marker"], "the same origin");
  assert.equal(sandbox.requests.filter(({ url }) => url.endsWith("/loop")).length, 21);
});

test("what was meant for one origin does not follow to another", async () => {
  const other = await serve();
  const { value, sandbox } = await run(`
    const answer = await fetch(base + "/to?where=" + encodeURIComponent("${other.base}/x"), { headers: { Authorization: "Bearer marker", "X-Kept": "1" } });
    return answer.url;`);
  other.close();
  assert.equal(value, `${other.base}/x`);
  const names = sandbox.requests[1].headers.map(([name]) => name);
  assert.ok(names.includes("x-kept") && !names.includes("authorization"), `${names}`);
  const bad = await run(`return fetch(base + "/to?where=" + encodeURIComponent("file:///etc/passwd")).catch((error) => error.message)`);
  assert.match(bad.value, /no http URL/);
});

test("a redirect of an account goes on through the same account", async () => {
  const there = `${server.base}/end`;
  const refuse = ({ prop }) => (prop === null ? new Refusal("denied", "no plain requests") : undefined);
  const { value, sandbox } = await run(
    `const answer = await accounts.one.fetch(base + "/to?where=" + encodeURIComponent("${there}"));
     const manual = await accounts.two.fetch(base + "/to?where=/end", { redirect: "manual" });
     return [answer.url, manual.status];`,
    { refuse },
  );
  assert.deepEqual(value, [there, 302]);
  assert.deepEqual(sandbox.requests.map(({ prop }) => prop), ["one", "one", "two"]);
});

test("an account's redirect that only the host could resolve says what to do", async () => {
  const routes = { "/one/move": (_request, answer) => answer.writeHead(302, { location: "/elsewhere" }).end() };
  const here = await serve(routes);
  const facts = { app: "a", name: "a/b", identity: null, scopes: [], inputs: {}, markers: {} };
  const sandbox = new Sandbox({ accounts: { one: { base: `${here.base}/one`, facts } } });
  const source = `export const props = { one: { type: "app", app: "a" } };
    export default (input, { accounts }) => accounts.one.fetch("/move").catch((error) => error.message)`;
  const { value } = await sandbox.run(source);
  here.close();
  assert.match(value, /ask with an absolute URL, or with `redirect: "manual"`/);
});
