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
