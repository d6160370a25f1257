// The other globals, where they meet the host or differ from a browser.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { Sandbox } from "./host.mjs";

async function value(body) {
  return (await new Sandbox().run(`export default async function () { ${body} }`)).value;
}

test("globals look as a platform's: not enumerable, with their names, and nothing of the host is left", async () => {
  const names = ["AbortController", "AbortSignal", "Blob", "CustomEvent", "DOMException", "Event", "EventTarget", "File", "FormData", "Headers", "ReadableStream", "Request", "Response", "TextDecoder", "TextEncoder", "TransformStream", "URL", "URLSearchParams", "WritableStream", "atob", "btoa", "clearTimeout", "defineComponent", "fetch", "queueMicrotask", "setImmediate", "setInterval", "setTimeout", "structuredClone"];
  const found = await value(`
    const names = ${JSON.stringify(names)};
    return {
      wrong: names.filter((name) => typeof globalThis[name] !== "function" || globalThis[name].name !== name || Object.getOwnPropertyDescriptor(globalThis, name).enumerable),
      enumerable: Object.keys(globalThis),
      left: Object.getOwnPropertyNames(globalThis).filter((name) => name.startsWith("_")),
      tags: [new Headers(), new Request("http://a"), new Response(), new Blob(), new FormData(), new AbortController(), crypto, console, new URL("a:b")].map((it) => Object.prototype.toString.call(it)),
      members: Object.keys(Headers.prototype).sort(),
    };`);
  assert.deepEqual(found.wrong, []);
  assert.deepEqual(found.enumerable, []);
  assert.deepEqual(found.left, []);
  assert.deepEqual(found.tags, ["[object Headers]", "[object Request]", "[object Response]", "[object Blob]", "[object FormData]", "[object AbortController]", "[object Crypto]", "[object console]", "[object URL]"]);
  assert.deepEqual(found.members, ["append", "delete", "entries", "forEach", "get", "getSetCookie", "has", "keys", "set", "values"]);
});

test("console writes one record a call, at its level, in Node's words", async () => {
  const sandbox = new Sandbox();
  await sandbox.run(`export default function () {
    console.log("%s is %d of %i, %o %%", "a", 1.5, 2.9, { x: 1 }, "more", [1, { b: { c: 1 } }]);
    console.debug("d"); console.info("i"); console.warn("w"); console.error(new TypeError("bad"));
    const round = { name: "r" }; round.self = round; console.log(round);
    console.group("outer"); console.log("in\\nside"); console.groupEnd(); console.log("out");
    console.assert(true, "no"); console.assert(false, "%s!", "yes");
    console.count(); console.count(); console.table([{ a: 1 }, { a: 2, b: "x" }]);
    console.time("t"); console.timeEnd("t"); console.log(new Map([["k", new Set([1])]]), Symbol("s"), 10n, null, undefined);
    console.log(new Headers({ a: "b" }), new URL("https://a.example/b?c"));
  }`);
  const logs = sandbox.logs.map(([level, text]) => `${level} ${text}`);
  assert.equal(logs[0], "info a is 1.5 of 2, { x: 1 } % more [ 1, { b: { c: 1 } } ]");
  assert.deepEqual(logs.slice(1, 4), ["debug d", "info i", "warn w"]);
  assert.match(logs[4], /^error TypeError: bad\n {4}at /);
  assert.equal(logs[5], "info <ref *1> { name: 'r', self: [Circular *1] }");
  assert.deepEqual(logs.slice(6, 12), ["info outer", "info   in\n  side", "info out", "error Assertion failed: yes!", "info default: 1", "info default: 2"]);
  assert.match(logs[12], /│ \(index\) │ a │ b {3}│/);
  assert.match(logs[13], /^info t: \d+ ms$/);
  assert.equal(logs[14], "info Map(1) { 'k' => Set(1) { 1 } } Symbol(s) 10n null undefined");
  assert.match(logs[15], /^info Headers \{ a: 'b' \} URL \{/);
});

test("timers run in order, repeat, and can be stopped", async () => {
  const order = await value(`
    const order = [];
    await new Promise((done) => {
      setTimeout(() => order.push("late"), 20);
      setTimeout((a, b) => order.push(a + b), 5, "e", "arly");
      const stopped = setTimeout(() => order.push("never"), 1); clearTimeout(stopped);
      let times = 0;
      const interval = setInterval(() => { times += 1; order.push("tick"); if (times === 2) clearInterval(interval); }, 8);
      setImmediate(() => order.push("now"));
      queueMicrotask(() => order.push("micro"));
      setTimeout(done, 40);
    });
    return order;`);
  assert.deepEqual(order, ["micro", "now", "early", "tick", "tick", "late"]);
  assert.equal(await value(`try { setTimeout("code", 1); } catch (error) { return error.message; }`), "a timer needs a function: texts are not run as code");
});

test("what a timer, a microtask or a listener throws is a rejection that nobody handles", () => {
  // In a process of its own: the test runner takes such rejections for itself.
  const program = `
    import { Sandbox } from ${JSON.stringify(new URL("./host.mjs", import.meta.url).href)};
    process.on("unhandledRejection", (reason) => console.log(reason.message));
    await new Sandbox().run(\`export default async () => {
      setTimeout(() => { throw new Error("in a timer"); }, 1);
      queueMicrotask(() => { throw new Error("in a microtask"); });
      const target = new EventTarget();
      target.addEventListener("x", () => { throw new Error("in a listener"); });
      target.dispatchEvent(new Event("x"));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }\`);`;
  const flags = ["--no-warnings", "--experimental-vm-modules", "--input-type=module", "--eval", program];
  const { stdout, stderr } = spawnSync(process.execPath, flags, { encoding: "utf8" });
  assert.deepEqual(stdout.trim().split("\n").sort(), ["in a listener", "in a microtask", "in a timer"], stderr);
});

test("crypto digests, signs and gives random bytes; anything else is refused by name", async () => {
  const found = await value(`
    const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const text = (it) => new TextEncoder().encode(it);
    const key = await crypto.subtle.importKey("raw", text("key"), { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
    const signature = await crypto.subtle.sign("HMAC", key, text("The quick brown fox jumps over the lazy dog"));
    const fails = async (work) => work().then(() => "worked", (error) => error.name);
    return {
      sha256: hex(await crypto.subtle.digest("SHA-256", text("abc"))),
      sha1: hex(await crypto.subtle.digest({ name: "sha-1" }, text("abc"))),
      hmac: hex(signature),
      verified: [await crypto.subtle.verify("HMAC", key, signature, text("The quick brown fox jumps over the lazy dog")), await crypto.subtle.verify("HMAC", key, signature, text("other"))],
      uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()),
      different: crypto.randomUUID() !== crypto.randomUUID(),
      filled: crypto.getRandomValues(new Uint32Array(8)).some((word) => word !== 0),
      refused: [
        await fails(() => crypto.subtle.encrypt({ name: "AES-GCM" }, key, text("x"))),
        await fails(() => crypto.subtle.digest("MD5", text("x"))),
        await fails(() => crypto.subtle.importKey("jwk", {}, { name: "HMAC", hash: "SHA-256" }, false, ["sign"])),
        await fails(() => crypto.subtle.importKey("raw", text("k"), { name: "HMAC", hash: "SHA-256" }, false, ["encrypt"])),
        await fails(() => crypto.subtle.importKey("raw", text(""), { name: "HMAC", hash: "SHA-256" }, false, ["sign"])),
        await fails(async () => crypto.getRandomValues(new Uint8Array(70000))),
        await fails(async () => crypto.getRandomValues(new Float32Array(1))),
      ],
    };`);
  assert.deepEqual(found, {
    sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    sha1: "a9993e364706816aba3e25717850c26c9cd0d89d",
    hmac: "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8",
    verified: [true, false],
    uuid: true,
    different: true,
    filled: true,
    refused: ["NotSupportedError", "NotSupportedError", "NotSupportedError", "SyntaxError", "DataError", "QuotaExceededError", "TypeMismatchError"],
  });
});

test("names beyond ASCII, old encodings and clones work without the engine's help", async () => {
  assert.deepEqual(
    await value(`
      const copy = structuredClone({ when: new Date(0), map: new Map([[1, new Set([2])]]), bytes: new Uint8Array([1, 2]), error: new RangeError("x"), list: [, 1] });
      const round = {}; round.self = round;
      return [
        new URL("https://faß.example/ä?ö#ü").href, new TextDecoder("shift_jis").decode(new Uint8Array([0x82, 0xa0])),
        new TextDecoder("utf-16le").decode(new Uint8Array([0x61, 0])), new TextDecoder("latin1").encoding,
        copy.when.getTime(), [...copy.map.get(1)], [...copy.bytes], copy.error.name, 0 in copy.list, structuredClone(round).self !== round,
        (() => { try { structuredClone(() => {}); } catch (error) { return error.name; } })(),
        typeof Intl, navigator.userAgent, typeof performance.now(),
      ];`),
    ["https://xn--fa-hia.example/%C3%A4?%C3%B6#%C3%BC", "あ", "a", "windows-1252", 0, [2], [1, 2], "RangeError", false, true, "DataCloneError", "undefined", "Deputy", "number"],
  );
});
