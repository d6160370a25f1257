<<<<<<< HEAD
// The environment of scripts: evaluated once, before the runner's snapshot. It takes `__host` and leaves `__env`.
//
// The order matters: each of the globals may use those before it.

import "./host.js";
import "./globals/exception.js";
import "./globals/events.js";
import "./globals/abort.js";
import "./globals/encoding.js";
import "./globals/url.js";
import "./globals/streams.js";
import "./globals/blob.js";
import "./globals/form.js";
import "./globals/headers.js";
import "./globals/request.js";
import "./globals/response.js";
import "./globals/fetch.js";
import "./globals/timers.js";
import "./globals/console.js";
import "./globals/crypto.js";
import "./globals/misc.js";
import { expose } from "./idl.js";
import { defineComponent } from "./step/component.js";
import { props } from "./step/shape.js";
import { run } from "./step/run.js";

expose("defineComponent", defineComponent);
const exports = { defineComponent };
globalThis.__env = { props, run, module: exports, exports };
=======
// The least environment that runs a script: until the real one stands here.
{
  const host = globalThis.__host;
  const json = (value) => {
    try {
      return JSON.stringify(value ?? null) ?? "null";
    } catch (error) {
      throw Object.assign(new Error(`the output is no JSON: ${error.message}`), { kind: "output" });
    }
  };
  globalThis.console = { log: (...values) => host.log("info", values.join(" ")) };
  globalThis.setTimeout = (callback, ms) => {
    const { id, promise } = host.timer(ms);
    promise.then(callback);
    return id;
  };
  globalThis.fetchBare = async (prop, url) => {
    const answer = await host.start(prop, "GET", url, [], null, null, null).promise;
    const pieces = [];
    for (;;) {
      const piece = await host.read(answer.body);
      if (piece === null) break;
      pieces.push(host.utf8Decode(piece, false));
    }
    return { status: answer.status, text: pieces.join("") };
  };
  globalThis.__env = {
    props: (namespace) => JSON.stringify(namespace.props ?? []),
    run: async (namespace, input) => {
      if (typeof namespace.default !== "function") {
        throw Object.assign(new Error("the script exports no function as default"), { kind: "shape" });
      }
      const value = await namespace.default(JSON.parse(input).props);
      return { value: json(value), exports: [], exit: null, respond: null };
    },
  };
}
>>>>>>> room/runner
