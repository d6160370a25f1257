// Response (Fetch section 5.5).

import { byteString, decorate, dictionary, expose, inspectable, needs, usvString } from "../idl.js";
import { Body, extract, mixBody } from "./body.js";
import { guarded, received } from "./headers.js";
import { URL } from "./url.js";

const NULL_BODY = [101, 103, 204, 205, 304];
const REDIRECTS = [301, 302, 303, 307, 308];

let partsOf;
let ofHost;

class Response {
  #type = "default";
  #url = "";
  #redirected = false;
  #status = 200;
  #statusText = "";
  #headers;
  #body = null;

  static {
    partsOf = (response) => ({ body: response.#body, headers: response.#headers });
    ofHost = (answer, url, redirected, signal) => {
      const response = new Response();
      response.#type = "basic";
      response.#url = url;
      response.#redirected = redirected;
      response.#status = answer.status;
      response.#headers = received(answer.headers);
      response.#body = Body.ofHost(answer.body, signal);
      if (NULL_BODY.includes(answer.status)) {
        response.#body.close();
        response.#body = null;
      }
      return response;
    };
  }

  constructor(body = null, init = undefined) {
    const options = dictionary(init, "Response's init");
    const extracted = body === null || body === undefined ? null : extract(body);
    this.#initialize(options, extracted);
  }

  #initialize(options, extracted) {
    const { headers, status = 200, statusText = "" } = options;
    // Web IDL's `unsigned short`.
    const code = (Math.trunc(Number(status)) || 0) & 0xffff;
    if (code < 200 || code > 599) throw new RangeError(`${status} is no status: 200 to 599`);
    const text = byteString(statusText, "Response's statusText");
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(text)) throw new TypeError("Response's statusText holds a control character");
    this.#status = code;
    this.#statusText = text;
    this.#headers = guarded(headers, "response");
    if (extracted === null) return;
    if (NULL_BODY.includes(code)) throw new TypeError(`an answer with status ${code} has no body`);
    this.#body = extracted.body;
    if (extracted.type !== null && !this.#headers.has("content-type")) {
      this.#headers.set("content-type", extracted.type);
    }
  }

  static error() {
    const response = new Response();
    response.#type = "error";
    response.#status = 0;
    response.#headers = guarded(undefined, "immutable");
    return response;
  }

  static redirect(url, status = 302) {
    needs(1, arguments.length, "Response.redirect");
    const parsed = URL.parse(usvString(url));
    if (parsed === null) throw new TypeError(`"${url}" is no absolute URL`);
    const code = (Math.trunc(Number(status)) || 0) & 0xffff;
    if (!REDIRECTS.includes(code)) throw new RangeError(`${status} is no status of a redirect`);
    const response = new Response();
    response.#status = code;
    response.#headers = guarded([["location", parsed.href]], "immutable");
    return response;
  }

  static json(data, init = undefined) {
    needs(1, arguments.length, "Response.json");
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError("Response.json was given something that is no JSON");
    const response = new Response();
    const { body } = extract(text);
    response.#initialize(dictionary(init, "Response.json's init"), { body, type: "application/json" });
    return response;
  }

  get type() {
    return this.#type;
  }

  get url() {
    return this.#url;
  }

  get redirected() {
    return this.#redirected;
  }

  get status() {
    return this.#status;
  }

  get ok() {
    return this.#status >= 200 && this.#status <= 299;
  }

  get statusText() {
    return this.#statusText;
  }

  get headers() {
    return this.#headers;
  }

  clone() {
    if (this.#body?.unusable) throw new TypeError("the body of this Response has been read already");
    const clone = new Response();
    clone.#type = this.#type;
    clone.#url = this.#url;
    clone.#redirected = this.#redirected;
    clone.#status = this.#status;
    clone.#statusText = this.#statusText;
    clone.#headers = guarded(this.#headers, this.#type === "default" ? "response" : "immutable");
    clone.#body = this.#body?.clone() ?? null;
    return clone;
  }
}

mixBody(Response, (response) => partsOf(response));
decorate(Response, "Response");
inspectable(Response, (response) => ({
  status: response.status,
  statusText: response.statusText,
  url: response.url,
  headers: response.headers,
  bodyUsed: response.bodyUsed,
}));
expose("Response", Response);

export { REDIRECTS, Response, ofHost };
