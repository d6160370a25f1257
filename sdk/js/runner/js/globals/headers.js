// Headers (Fetch section 5.1).

import { byteString, decorate, expose, inspectable, iterable, needs } from "../idl.js";

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/**
 * Frames of the message: the host sets them. A browser drops what a script gives for them, and libraries count on it.
 * Others of the standard's forbidden names (cookie, origin, …) reach the host, which refuses by name what may not go.
 */
const FRAMING = new Set([
  "accept-encoding",
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

let listOf;
let guardOf;

class Headers {
  /** `[name in lower case, value]`, in the order given. */
  #list = [];
  #guard = "none";
  #sorted = null;

  static {
    listOf = (headers) => headers.#list;
    guardOf = (headers, guard) => {
      headers.#guard = guard;
      return headers;
    };
  }

  constructor(init = undefined) {
    if (init !== undefined) this.#fill(init);
  }

  #fill(init) {
    if (typeof init !== "object" || init === null) {
      if (typeof init !== "function") throw new TypeError("Headers needs an object or a list of pairs");
    }
    const iterator = init[Symbol.iterator];
    if (iterator !== undefined && iterator !== null) {
      if (typeof iterator !== "function") throw new TypeError("Headers needs an object or a list of pairs");
      const pairs = [];
      for (const pair of { [Symbol.iterator]: () => iterator.call(init) }) {
        if (typeof pair !== "object" || pair === null || typeof pair[Symbol.iterator] !== "function") {
          throw new TypeError("Headers: an entry is no pair of name and value");
        }
        const both = [...pair].map((text) => byteString(text, "a header"));
        if (both.length !== 2) throw new TypeError("Headers: an entry is no pair of name and value");
        pairs.push(both);
      }
      for (const [name, value] of pairs) this.append(name, value);
      return;
    }
    const record = new Map();
    for (const key of Reflect.ownKeys(init)) {
      if (!Reflect.getOwnPropertyDescriptor(init, key)?.enumerable) continue;
      if (typeof key === "symbol") throw new TypeError("Headers: a symbol is no name");
      record.set(byteString(key, "a header's name"), byteString(init[key], `the header \`${key}\``));
    }
    for (const [name, value] of record) this.append(name, value);
  }

  append(name, value) {
    needs(2, arguments.length, "Headers.append");
    const [key, text] = [checkedName(name), checkedValue(name, value)];
    if (!this.#mayChange(key)) return;
    this.#sorted = null;
    this.#list.push([key, text]);
  }

  delete(name) {
    needs(1, arguments.length, "Headers.delete");
    const key = checkedName(name);
    if (!this.#mayChange(key)) return;
    this.#sorted = null;
    this.#list = this.#list.filter(([other]) => other !== key);
  }

  get(name) {
    needs(1, arguments.length, "Headers.get");
    const key = checkedName(name);
    const values = this.#list.filter(([other]) => other === key).map(([, value]) => value);
    return values.length === 0 ? null : values.join(", ");
  }

  getSetCookie() {
    return this.#list.filter(([name]) => name === "set-cookie").map(([, value]) => value);
  }

  has(name) {
    needs(1, arguments.length, "Headers.has");
    const key = checkedName(name);
    return this.#list.some(([other]) => other === key);
  }

  set(name, value) {
    needs(2, arguments.length, "Headers.set");
    const [key, text] = [checkedName(name), checkedValue(name, value)];
    if (!this.#mayChange(key)) return;
    this.#sorted = null;
    const at = this.#list.findIndex(([other]) => other === key);
    if (at < 0) {
      this.#list.push([key, text]);
    } else {
      this.#list = this.#list.filter(([other], place) => other !== key || place === at);
      this.#list[at] = [key, text];
    }
  }

  #mayChange(key) {
    if (this.#guard === "immutable") throw new TypeError("these headers cannot be changed");
    return !(this.#guard === "request" && FRAMING.has(key));
  }

  /** By name; values of one name joined, but for Set-Cookie. */
  static sorted(headers) {
    if (headers.#sorted !== null) return headers.#sorted;
    const names = [...new Set(headers.#list.map(([name]) => name))].sort();
    headers.#sorted = names.flatMap((name) =>
      name === "set-cookie" ? headers.getSetCookie().map((value) => [name, value]) : [[name, headers.get(name)]],
    );
    return headers.#sorted;
  }
}

const { sorted } = Headers;
delete Headers.sorted;

function checkedName(name) {
  const text = byteString(name, "a header's name");
  if (!TOKEN.test(text)) throw new TypeError(`"${text}" is no name of a header`);
  return text.toLowerCase();
}

function checkedValue(name, value) {
  const text = byteString(value, `the header \`${name}\``).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
  if (/[\0\n\r]/.test(text)) throw new TypeError(`the header \`${name}\` holds a line break or a zero byte`);
  return text;
}

decorate(Headers, "Headers");
iterable(Headers, sorted);
inspectable(Headers, (headers) => Object.fromEntries(sorted(headers)));
expose("Headers", Headers);

/** Headers whose changes are guarded. */
export function guarded(init, guard) {
  const headers = guardOf(new Headers(), guard === "immutable" ? "none" : guard);
  if (init instanceof Headers) {
    for (const [name, value] of listOf(init)) headers.append(name, value);
  } else if (init !== undefined) {
    for (const [name, value] of listOf(new Headers(init))) headers.append(name, value);
  }
  return guard === "immutable" ? guardOf(headers, guard) : headers;
}

/** Headers of the host's answer: taken as they came. */
export function received(pairs) {
  const headers = new Headers();
  for (const [name, value] of pairs) listOf(headers).push([name.toLowerCase(), value]);
  return guardOf(headers, "immutable");
}

export { Headers, listOf as headerList };
