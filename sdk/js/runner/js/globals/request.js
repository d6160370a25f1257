// Request (Fetch section 5.4).

import { byteString, decorate, dictionary, expose, inspectable, needs, oneOf, usvString } from "../idl.js";
import { dependent, isSignal } from "./abort.js";
import { extract, mixBody } from "./body.js";
import { guarded } from "./headers.js";
import { URL } from "./url.js";

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const WORDS = {
  referrerPolicy: [
    "",
    "no-referrer",
    "no-referrer-when-downgrade",
    "same-origin",
    "origin",
    "strict-origin",
    "origin-when-cross-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
  ],
  mode: ["same-origin", "no-cors", "cors"],
  credentials: ["omit", "same-origin", "include"],
  cache: ["default", "no-store", "reload", "no-cache", "force-cache", "only-if-cached"],
  redirect: ["follow", "error", "manual"],
  duplex: ["half"],
  priority: ["high", "low", "auto"],
};

let partsOf;

class Request {
  #url;
  #method = "GET";
  #headers;
  #body = null;
  #signal;
  #settings = { referrerPolicy: "", mode: "cors", credentials: "same-origin", cache: "default", redirect: "follow" };
  #referrer = "about:client";
  #integrity = "";
  #keepalive = false;

  static {
    partsOf = (request) => ({ body: request.#body, headers: request.#headers });
  }

  constructor(input, init = undefined) {
    needs(1, arguments.length, "Request");
    const from = input instanceof Request ? input : null;
    const options = dictionary(init, "Request's init");
    if (from === null) {
      this.#url = parse(input);
    } else {
      this.#url = from.#url;
      this.#method = from.#method;
      this.#settings = { ...from.#settings };
      this.#referrer = from.#referrer;
      this.#integrity = from.#integrity;
      this.#keepalive = from.#keepalive;
    }
    this.#choose(options);

    const signal = options.signal === undefined ? from?.#signal : options.signal;
    if (signal !== undefined && signal !== null && !isSignal(signal)) {
      throw new TypeError("Request's signal is no AbortSignal");
    }
    this.#signal = dependent(signal ? [signal] : []);
    this.#headers = guarded(options.headers === undefined ? from?.#headers : options.headers, "request");

    const { body } = options;
    const inherited = from?.#body ?? null;
    const given = body !== undefined && body !== null;
    if ((given || inherited !== null) && (this.#method === "GET" || this.#method === "HEAD")) {
      throw new TypeError(`a ${this.#method} request has no body`);
    }
    if (given) {
      const extracted = extract(body);
      if (extracted.body.stream !== null && options.duplex === undefined) {
        throw new TypeError('a stream as body needs `duplex: "half"`');
      }
      this.#body = extracted.body;
      if (extracted.type !== null && !this.#headers.has("content-type")) {
        this.#headers.set("content-type", extracted.type);
      }
    } else if (inherited !== null) {
      if (inherited.unusable) throw new TypeError("the body of that Request has been read already");
      this.#body = inherited.take();
    }
  }

  #choose(options) {
    if (options.window !== undefined && options.window !== null) throw new TypeError("Request's window can only be null");
    for (const [name, words] of Object.entries(WORDS)) {
      if (options[name] === undefined) continue;
      if (name === "mode" && `${options[name]}` === "navigate") throw new TypeError("Request's mode cannot be navigate");
      this.#settings[name] = oneOf(options[name], words, `Request's ${name}`);
    }
    if (this.#settings.cache === "only-if-cached" && this.#settings.mode !== "same-origin") {
      throw new TypeError("the cache mode only-if-cached needs the mode same-origin");
    }
    if (options.referrer !== undefined) {
      const referrer = usvString(options.referrer);
      this.#referrer = referrer === "" ? "" : referrerOf(referrer);
    }
    if (options.integrity !== undefined) this.#integrity = `${options.integrity}`;
    if (options.keepalive !== undefined) this.#keepalive = Boolean(options.keepalive);
    if (options.method !== undefined) this.#method = methodOf(options.method);
  }

  get method() {
    return this.#method;
  }

  get url() {
    return this.#url;
  }

  get headers() {
    return this.#headers;
  }

  get destination() {
    this.#url;
    return "";
  }

  get referrer() {
    return this.#referrer;
  }

  get referrerPolicy() {
    return this.#settings.referrerPolicy;
  }

  get mode() {
    return this.#settings.mode;
  }

  get credentials() {
    return this.#settings.credentials;
  }

  get cache() {
    return this.#settings.cache;
  }

  get redirect() {
    return this.#settings.redirect;
  }

  get integrity() {
    return this.#integrity;
  }

  get keepalive() {
    return this.#keepalive;
  }

  get isReloadNavigation() {
    this.#url;
    return false;
  }

  get isHistoryNavigation() {
    this.#url;
    return false;
  }

  get signal() {
    return this.#signal;
  }

  get duplex() {
    this.#url;
    return "half";
  }

  clone() {
    if (this.#body?.unusable) throw new TypeError("the body of this Request has been read already");
    const clone = new Request(this.#url);
    clone.#method = this.#method;
    clone.#settings = { ...this.#settings };
    clone.#referrer = this.#referrer;
    clone.#integrity = this.#integrity;
    clone.#keepalive = this.#keepalive;
    clone.#headers = guarded(this.#headers, "request");
    clone.#body = this.#body?.clone() ?? null;
    clone.#signal = dependent([this.#signal]);
    return clone;
  }
}

function parse(input) {
  const text = usvString(input);
  const url = URL.parse(text);
  if (url === null) {
    throw new TypeError(`"${text}" is no URL: a plain fetch needs an absolute one, such as https://example.com/a`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new TypeError(`"${url.origin}…" holds a user name or a password: send them in a header`);
  }
  return url.href;
}

/** There is no page: any URL is as good as the client itself. */
function referrerOf(text) {
  if (text === "about:client") return text;
  const url = URL.parse(text);
  if (url === null) throw new TypeError(`"${text}" is no URL for a referrer`);
  return "about:client";
}

function methodOf(value) {
  const method = byteString(value, "Request's method");
  if (!TOKEN.test(method)) throw new TypeError(`"${method}" is no method`);
  const upper = method.toUpperCase();
  if (["CONNECT", "TRACE", "TRACK"].includes(upper)) throw new TypeError(`the method ${upper} is forbidden`);
  return ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"].includes(upper) ? upper : method;
}

mixBody(Request, (request) => partsOf(request));
decorate(Request, "Request");
inspectable(Request, (request) => ({ method: request.method, url: request.url, headers: request.headers }));
expose("Request", Request);

export { Request, partsOf as requestParts };
