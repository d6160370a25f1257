// A fake of the script runner: the bundled environment in a fresh context that has the language and nothing else, on
// natives made with Node. It answers requests over real sockets, so that the same scripts run here and in the sandbox.

import crypto from "node:crypto";
import http from "node:http";
import vm from "node:vm";
import { bundle } from "../runner/js/build.mjs";

const environment = new vm.Script(await bundle(), { filename: "environment.js" });

/** What the natives give must belong to the script's own realm. */
const BRIDGE = `(natives) => {
  const own = (value) => value instanceof Object || value === null || typeof value !== "object" ? value : mine(value);
  const mine = (value) => {
    if (value.constructor?.name === "Uint8Array") return new Uint8Array(value);
    if (Array.isArray(value)) return value.map(own);
    if (typeof value.then === "function") return new Promise((resolve, reject) => value.then((v) => resolve(own(v)), (e) => reject(own(e))));
    if ("message" in value && "stack" in value) {
      const error = value.name === "TypeError" ? new TypeError(value.message) : new Error(value.message);
      if (value.code) error.code = value.code;
      if (value.fix) error.fix = value.fix;
      return error;
    }
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, own(inner)]));
  };
  // The engine of the sandbox has it.
  ArrayBuffer.prototype.transfer ??= function transfer(length = this.byteLength) {
    const moved = new ArrayBuffer(length);
    new Uint8Array(moved).set(new Uint8Array(this).subarray(0, length));
    natives.detach(this);
    return moved;
  };
  globalThis.__host = {};
  for (const [name, native] of Object.entries(natives)) {
    __host[name] = (...values) => {
      try { return own(native(...values)); } catch (error) { throw own(error); }
    };
  }
}`;

export class Refusal extends Error {
  constructor(code, message, fix) {
    super(message);
    this.code = code;
    if (fix !== undefined) this.fix = fix;
  }
}

export class Sandbox {
  logs = [];
  /** Requests in the order in which they were started: `{ prop, method, url, headers, body, identity }`. */
  requests = [];
  cancelled = 0;
  closed = 0;
  #bodies = new Map();
  #pending = new Map();
  #timers = new Map();
  /** The timers' clock: it stands still while code runs, so that no machine is too slow for their order. */
  #time = 0;
  #winding;
  #last = 0;

  /** `accounts`: by prop, `{ base, facts }` or a Refusal. */
  constructor({ accounts = {}, refuse } = {}) {
    this.accounts = accounts;
    this.refuse = refuse;
    this.context = vm.createContext({}, { microtaskMode: undefined });
    // The engine of the sandbox has none of these.
    vm.runInContext("delete globalThis.console; delete globalThis.WebAssembly; delete globalThis.Intl;", this.context);
    vm.runInContext(BRIDGE, this.context)(this.#natives());
    environment.runInContext(this.context);
    this.env = vm.runInContext("__env", this.context);
    vm.runInContext("delete globalThis.__env", this.context);
  }

  #natives() {
    return {
      detach: (buffer) => void structuredClone(buffer, { transfer: [buffer] }),
      start: (...all) => this.#start(...all),
      cancel: (id) => {
        this.cancelled += 1;
        this.#pending.get(id)?.destroy();
      },
      read: (id) => this.#read(id),
      close: (id) => {
        this.closed += 1;
        this.#bodies.get(id)?.destroy();
        this.#bodies.delete(id);
      },
      timer: (ms) => {
        this.#last += 1;
        const id = this.#last;
        const promise = new Promise((resolve) => this.#timers.set(id, { id, due: this.#time + ms, resolve }));
        this.#wind();
        return { id, promise };
      },
      clearTimer: (id) => {
        this.#timers.delete(id);
        this.#wind();
      },
      log: (level, text) => void this.logs.push([level, text]),
      now: () => Date.now(),
      random: (count) => new Uint8Array(crypto.randomBytes(count)),
      digest: (name, bytes) => new Uint8Array(crypto.createHash(name.replace("-", "").toLowerCase()).update(bytes).digest()),
      hmac: (name, key, bytes) =>
        new Uint8Array(crypto.createHmac(name.replace("-", "").toLowerCase(), key).update(bytes).digest()),
      utf8Encode: (text) => new Uint8Array(Buffer.from(text.toWellFormed(), "utf8")),
      utf8Decode: (bytes, fatal) => new TextDecoder("utf-8", { fatal, ignoreBOM: true }).decode(bytes),
      toBase64: (bytes) => Buffer.from(bytes).toString("base64"),
      fromBase64: (text) => new Uint8Array(Buffer.from(text, "base64")),
      account: (prop) => {
        const account = this.accounts[prop];
        if (account === undefined) throw new Refusal("not-bound", `no account is bound to \`${prop}\``);
        if (account instanceof Refusal) throw account;
        return account.facts;
      },
    };
  }

  /** Waits for the timer that is due first; of two that are due at once, the older one. */
  #wind() {
    clearTimeout(this.#winding);
    let next;
    for (const timer of this.#timers.values()) if (next === undefined || timer.due < next.due) next = timer;
    if (next === undefined) return;
    this.#winding = setTimeout(() => {
      this.#timers.delete(next.id);
      this.#time = next.due;
      next.resolve();
      this.#wind();
    }, next.due - this.#time);
  }

  #start(prop, method, url, headers, body, _timeoutMs, identity) {
    const copy = body === null ? null : Buffer.from(body);
    const request = { prop, method, url, headers: [...headers].map(([name, value]) => [name, value]), body: copy, identity };
    this.requests.push(request);
    const refusal = this.refuse?.(request);
    if (refusal) throw refusal;
    const base = prop === null ? undefined : this.accounts[prop].base;
    const target = /^https?:/.test(url) ? new URL(url) : new URL(base + url);
    this.#last += 1;
    const id = this.#last;
    const promise = new Promise((resolve, reject) => {
      const options = { method, headers: grouped(headers), agent: false };
      const sent = http.request(target, options, (answer) => {
        this.#pending.delete(id);
        this.#last += 1;
        this.#bodies.set(this.#last, answer);
        const pairs = [];
        for (let at = 0; at < answer.rawHeaders.length; at += 2) {
          pairs.push([answer.rawHeaders[at].toLowerCase(), answer.rawHeaders[at + 1]]);
        }
        resolve({ status: answer.statusCode, headers: pairs, body: this.#last });
      });
      this.#pending.set(id, sent);
      sent.on("error", (error) => reject(new Refusal("unreachable", `no connection: ${error.message}`)));
      sent.end(copy ?? undefined);
    });
    promise.catch(() => {});
    return { id, promise };
  }

  #read(id) {
    const body = this.#bodies.get(id);
    if (body === undefined) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      const look = () => {
        const piece = body.read();
        if (piece !== null) return done(resolve, new Uint8Array(piece));
        if (body.readableEnded) return done(resolve, null);
        if (body.destroyed) return done(reject, new Refusal("protocol", "the connection was lost"));
      };
      const done = (settle, value) => {
        for (const event of ["readable", "end", "close", "error"]) body.removeListener(event, look);
        settle(value);
      };
      for (const event of ["readable", "end", "close", "error"]) body.on(event, look);
      look();
    });
  }

  /** The namespace of a module in this sandbox. */
  async load(source, name = "step.js") {
    const module = new vm.SourceTextModule(source, { context: this.context, identifier: name });
    const exports = this.env.module;
    await module.link((specifier) => {
      if (specifier !== "@deputy/step") throw new Error(`cannot import ${specifier}`);
      return new vm.SyntheticModule(
        Object.keys(exports),
        function () {
          for (const [key, value] of Object.entries(exports)) this.setExport(key, value);
        },
        { context: this.context },
      );
    });
    await module.evaluate();
    return module.namespace;
  }

  async props(source) {
    return JSON.parse(this.env.props(await this.load(source)));
  }

  /** Runs a script; the outcome with its JSON parsed. */
  async run(source, { props = {}, steps = {}, trigger = null } = {}) {
    const namespace = await this.load(source);
    const outcome = JSON.parse(await this.env.run(namespace, JSON.stringify({ props, steps, trigger })));
    return {
      ...outcome,
      value: JSON.parse(outcome.value),
      exports: Object.fromEntries(outcome.exports.map(([name, value]) => [name, JSON.parse(value)])),
      respond: outcome.respond === null ? null : JSON.parse(outcome.respond),
    };
  }

  evaluate(code, filename = "script.js") {
    return vm.runInContext(code, this.context, { filename });
  }
}

function grouped(headers) {
  const all = {};
  for (const [name, value] of headers) (all[name] ??= []).push(value);
  return all;
}
