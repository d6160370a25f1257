// AbortController and AbortSignal (DOM section 3).

import { getEventAttributeValue, setEventAttributeValue } from "event-target-shim";
import { host } from "../host.js";
import { decorate, expose, inspectable, needs } from "../idl.js";
import { DOMException } from "./exception.js";
import { Event, EventTarget } from "./events.js";

const internal = Symbol("internal");

let abort;
let addAlgorithm;
let removeAlgorithm;
let sourcesOf;

class AbortSignal extends EventTarget {
  #aborted = false;
  #reason;
  #algorithms = new Set();
  /** Signals that this one follows; none for one that does not depend on others. */
  #sources = null;
  #dependents = new Set();

  static {
    abort = (signal, reason) => signal.#abort(reason);
    addAlgorithm = (signal, algorithm) => {
      if (!signal.#aborted) signal.#algorithms.add(algorithm);
    };
    removeAlgorithm = (signal, algorithm) => signal.#algorithms.delete(algorithm);
    sourcesOf = (signal, sources) => {
      signal.#sources = new Set();
      for (const source of sources) {
        if (source.#aborted) {
          signal.#aborted = true;
          signal.#reason = source.#reason;
          return;
        }
      }
      for (const source of sources) {
        for (const root of source.#sources ?? [source]) {
          signal.#sources.add(root);
          root.#dependents.add(signal);
        }
      }
    };
  }

  constructor(key) {
    if (key !== internal) throw new TypeError("AbortSignal has no constructor: use AbortController");
    super();
  }

  get aborted() {
    return this.#aborted;
  }

  get reason() {
    return this.#reason;
  }

  get onabort() {
    return getEventAttributeValue(this, "abort");
  }

  set onabort(value) {
    setEventAttributeValue(this, "abort", value);
  }

  throwIfAborted() {
    if (this.#aborted) throw this.#reason;
  }

  #abort(reason) {
    if (this.#aborted) return;
    const mark = (signal) => {
      signal.#aborted = true;
      signal.#reason = this.#aborted ? this.#reason : reason;
    };
    this.#reason = reason === undefined ? new DOMException("this operation was aborted", "AbortError") : reason;
    this.#aborted = true;
    const dependents = [...this.#dependents].filter((dependent) => !dependent.#aborted);
    dependents.forEach(mark);
    for (const signal of [this, ...dependents]) signal.#runAbortSteps();
  }

  #runAbortSteps() {
    const algorithms = [...this.#algorithms];
    this.#algorithms.clear();
    for (const algorithm of algorithms) algorithm(this.#reason);
    this.dispatchEvent(new Event("abort"));
  }

  static abort(reason = undefined) {
    const signal = new AbortSignal(internal);
    signal.#aborted = true;
    signal.#reason = reason === undefined ? new DOMException("this operation was aborted", "AbortError") : reason;
    return signal;
  }

  static timeout(milliseconds) {
    needs(1, arguments.length, "AbortSignal.timeout");
    const ms = Math.trunc(Number(milliseconds));
    if (!(ms >= 0 && ms <= Number.MAX_SAFE_INTEGER)) {
      throw new TypeError(`AbortSignal.timeout needs a number of milliseconds, not ${milliseconds}`);
    }
    const signal = new AbortSignal(internal);
    const late = () => abort(signal, new DOMException(`the operation took longer than ${ms} ms`, "TimeoutError"));
    host.timer(Math.min(ms, 0xffff_fffe)).promise.then(late);
    return signal;
  }

  static any(signals) {
    needs(1, arguments.length, "AbortSignal.any");
    return dependent([...signals]);
  }
}

/** A signal that is aborted when the first of `sources` is. */
export function dependent(sources) {
  for (const source of sources) {
    if (!isSignal(source)) throw new TypeError("AbortSignal.any needs a list of AbortSignals");
  }
  const signal = new AbortSignal(internal);
  sourcesOf(signal, sources);
  return signal;
}

export function isSignal(value) {
  return value instanceof AbortSignal;
}

class AbortController {
  #signal = new AbortSignal(internal);

  get signal() {
    return this.#signal;
  }

  abort(reason = undefined) {
    abort(this.#signal, reason);
  }
}

decorate(AbortSignal, "AbortSignal");
decorate(AbortController, "AbortController");
inspectable(AbortSignal, (signal) => ({ aborted: signal.aborted }));
inspectable(AbortController, (controller) => ({ signal: controller.signal }));
expose("AbortSignal", AbortSignal);
expose("AbortController", AbortController);

export { AbortController, AbortSignal, addAlgorithm, removeAlgorithm };
