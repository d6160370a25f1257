// Timers (HTML section 8.6). What a callback throws is a rejection without a handler: the run ends badly.

import { host } from "../host.js";
import { expose } from "../idl.js";

const MOST_MS = 0x7fff_ffff;
/** The host's number of each timer that may still fire. */
const timers = new Map();
let last = 0;

function start(callback, ms, repeats, rest) {
  if (typeof callback !== "function") throw new TypeError("a timer needs a function: texts are not run as code");
  const number = Math.trunc(Number(ms)) || 0;
  // As Node and browsers do: what does not fit into 31 bits is no wait at all.
  const wait = number < 0 || number > MOST_MS ? 0 : number;
  last += 1;
  const key = last;
  const arm = () => {
    const { id, promise } = host.timer(wait);
    timers.set(key, id);
    promise.then(() => {
      if (!timers.has(key)) return;
      if (repeats) arm();
      else timers.delete(key);
      callback.apply(globalThis, rest);
    });
  };
  arm();
  return key;
}

function stop(key) {
  const number = Number(key);
  const id = timers.get(number);
  if (id === undefined) return;
  timers.delete(number);
  host.clearTimer(id);
}

expose("setTimeout", function setTimeout(callback, ms = 0, ...rest) {
  return start(callback, ms, false, rest);
});
expose("setInterval", function setInterval(callback, ms = 0, ...rest) {
  return start(callback, ms, true, rest);
});
expose("setImmediate", function setImmediate(callback, ...rest) {
  return start(callback, 0, false, rest);
});
expose("clearTimeout", function clearTimeout(id = undefined) {
  stop(id);
});
expose("clearInterval", function clearInterval(id = undefined) {
  stop(id);
});
expose("clearImmediate", function clearImmediate(id = undefined) {
  stop(id);
});
expose("queueMicrotask", function queueMicrotask(callback) {
  if (typeof callback !== "function") throw new TypeError("queueMicrotask needs a function");
  Promise.resolve().then(() => callback());
});
