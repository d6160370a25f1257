// The body mixin of Request and Response (Fetch section 5.3): bytes, a body that the host holds, or a stream.
//
// A stream is made only when a script asks for one: `await answer.json()` reads from the host directly.

import { MIMEType } from "whatwg-mimetype";
import { host } from "../host.js";
import { bytesView, usvString } from "../idl.js";
import { addAlgorithm } from "./abort.js";
import { Blob, blobBytes, isBlob, joined, withoutMark } from "./blob.js";
import { FormData, multipart, parseMultipart } from "./form.js";
import { ReadableStream, TransformStream, isDisturbed } from "./streams.js";
import { URLSearchParams } from "./url.js";

export class Body {
  /** All of it, or null. */
  bytes = null;
  /** The host's number of it, or null. */
  held = null;
  stream = null;
  used = false;
  /** Why it broke off: the signal of its request was aborted. */
  failure = null;
  #fail = null;
  #controller = null;
  #reader = null;

  static of(bytes) {
    const body = new Body();
    body.bytes = bytes;
    return body;
  }

  static ofStream(stream) {
    const body = new Body();
    body.stream = stream;
    return body;
  }

  /** The body of an answer; it breaks off when `signal` is aborted. */
  static ofHost(held, signal) {
    const body = new Body();
    body.held = held;
    if (signal !== null) addAlgorithm(signal, (reason) => body.#abort(reason));
    return body;
  }

  get unusable() {
    return this.used || (this.stream !== null && (this.stream.locked || isDisturbed(this.stream)));
  }

  get disturbed() {
    return this.used || (this.stream !== null && isDisturbed(this.stream));
  }

  #abort(reason) {
    if (this.held === null) return;
    host.close(this.held);
    this.held = null;
    this.failure = { reason };
    this.#fail?.(reason);
    this.#controller?.error(reason);
  }

  /** The next piece from the host; null at its end. */
  #next() {
    if (this.failure !== null) return Promise.reject(this.failure.reason);
    if (this.held === null) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      host.read(this.held).then(
        (piece) => {
          if (piece === null) this.held = null;
          resolve(piece);
        },
        (error) => {
          this.held = null;
          reject(brokenOff(error));
        },
      );
    });
  }

  /** As a stream, made at the first call. */
  asStream() {
    if (this.stream !== null) return this.stream;
    if (this.used) {
      // Read already, in one go.
      this.stream = new ReadableStream({ type: "bytes", start: (controller) => controller.close() });
      this.stream.getReader();
    } else if (this.bytes !== null) {
      const { bytes } = this;
      this.stream = new ReadableStream({
        type: "bytes",
        start(controller) {
          if (bytes.length > 0) controller.enqueue(bytes.slice());
          controller.close();
        },
      });
    } else {
      this.stream = new ReadableStream(
        {
          type: "bytes",
          start: (controller) => {
            this.#controller = controller;
            if (this.failure !== null) controller.error(this.failure.reason);
          },
          pull: async (controller) => {
            const piece = await this.#next();
            if (piece === null) {
              controller.close();
              controller.byobRequest?.respond(0);
            } else {
              controller.enqueue(piece);
            }
          },
          cancel: () => this.close(),
        },
        { highWaterMark: 0 },
      );
    }
    return this.stream;
  }

  /** Gives up the stream that is being collected. */
  abandon(reason) {
    this.#reader?.cancel(reason).catch(() => {});
  }

  /** Nobody will read it. */
  close() {
    if (this.held !== null) host.close(this.held);
    this.held = null;
  }

  clone() {
    if (this.bytes !== null && this.stream === null) return Body.of(this.bytes);
    const [one, other] = this.asStream().tee();
    this.stream = one;
    return Body.ofStream(other);
  }

  /** Moves it to a new request; this one is used then. */
  take() {
    const moved = new Body();
    [moved.bytes, moved.held] = [this.bytes, this.held];
    if (this.stream !== null) {
      moved.stream = this.stream.pipeThrough(new TransformStream());
    }
    this.used = true;
    return moved;
  }

  /** All bytes; the body is used then. */
  async collect() {
    const stream = this.stream;
    this.used = true;
    if (this.bytes !== null) return this.bytes;
    const pieces = [];
    if (stream === null) {
      for (let piece = await this.#next(); piece !== null; piece = await this.#next()) pieces.push(piece);
      return pieces.length === 1 ? pieces[0] : joined(pieces);
    }
    const reader = stream.getReader();
    this.#reader = reader;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return joined(pieces);
      if (!(value instanceof Uint8Array)) {
        const error = new TypeError("the body's stream gave something that is no Uint8Array");
        reader.cancel(error).catch(() => {});
        throw error;
      }
      pieces.push(value);
    }
  }
}

function brokenOff(error) {
  return new TypeError(`the answer broke off: ${error?.message ?? error}`, { cause: error });
}

/** The body and the content type of a BodyInit (Fetch's "extract"). */
export function extract(value) {
  if (value instanceof ReadableStream) {
    if (value.locked || isDisturbed(value)) throw new TypeError("the body's stream is locked or has been read from");
    return { body: Body.ofStream(value), type: null };
  }
  if (isBlob(value)) return { body: Body.of(blobBytes(value)), type: value.type || null };
  const view = bytesView(value);
  if (view !== undefined) return { body: Body.of(view.slice()), type: null };
  if (value instanceof FormData) {
    const { bytes, boundary } = multipart(value);
    return { body: Body.of(bytes), type: `multipart/form-data; boundary=${boundary}` };
  }
  if (value instanceof URLSearchParams) {
    const type = "application/x-www-form-urlencoded;charset=UTF-8";
    return { body: Body.of(host.utf8Encode(value.toString())), type };
  }
  return { body: Body.of(host.utf8Encode(usvString(value))), type: "text/plain;charset=UTF-8" };
}

/** Adds the mixin's members to a class; `parts` gives an object's body and headers. */
export function mixBody(Class, parts) {
  const consume = (object, convert) => {
    let given;
    try {
      given = parts(object);
    } catch (error) {
      return Promise.reject(error);
    }
    const { body, headers } = given;
    if (body === null) return new Promise((resolve) => resolve(convert(new Uint8Array(0), headers)));
    if (body.failure !== null) return Promise.reject(body.failure.reason);
    if (body.unusable) {
      const what = `the body of this ${Class.name} has been read already: keep what it gave, or clone() first`;
      return Promise.reject(new TypeError(what));
    }
    return body.collect().then((bytes) => convert(bytes, headers, body));
  };
  // Bytes that a clone may share are copied where a script can write into them.
  const own = (bytes, _headers, body) => (body?.bytes ? bytes.slice() : exact(bytes));
  const members = {
    get body() {
      return parts(this).body?.asStream() ?? null;
    },
    get bodyUsed() {
      return parts(this).body?.disturbed ?? false;
    },
    arrayBuffer() {
      return consume(this, (...all) => own(...all).buffer);
    },
    blob() {
      return consume(this, (bytes, headers) => new Blob([bytes], { type: mimeType(headers)?.toString() ?? "" }));
    },
    bytes() {
      return consume(this, own);
    },
    formData() {
      return consume(this, form);
    },
    json() {
      return consume(this, (bytes) => JSON.parse(utf8(bytes)));
    },
    text() {
      return consume(this, utf8);
    },
  };
  for (const [name, member] of Object.entries(Object.getOwnPropertyDescriptors(members))) {
    Object.defineProperty(Class.prototype, name, { ...member, enumerable: true });
  }
}

/** An array that is all of its buffer. */
function exact(bytes) {
  return bytes.length === bytes.buffer.byteLength ? bytes : bytes.slice();
}

function utf8(bytes) {
  return withoutMark(host.utf8Decode(bytes, false), bytes);
}

/** Fetch's "get the MIME type": the last one that can be read. */
function mimeType(headers) {
  const value = headers.get("content-type");
  if (value === null) return null;
  let found = null;
  let charset = null;
  for (const part of value.match(/(?:"(?:\\.|[^"\\])*"?|[^",])+/g) ?? []) {
    const type = MIMEType.parse(part);
    if (type === null || type.essence === "*/*") continue;
    if (type.essence !== found?.essence) {
      charset = type.parameters.get("charset") ?? null;
    } else if (!type.parameters.has("charset") && charset !== null) {
      type.parameters.set("charset", charset);
    }
    found = type;
  }
  return found;
}

function form(bytes, headers) {
  const type = mimeType(headers);
  if (type?.essence === "multipart/form-data") {
    const boundary = type.parameters.get("boundary");
    if (boundary === undefined) throw new TypeError("the content type names no boundary");
    return parseMultipart(bytes, boundary);
  }
  if (type?.essence === "application/x-www-form-urlencoded") {
    const made = new FormData();
    // Not new URLSearchParams(text), which takes a question mark at the start for none of the text.
    const text = host.utf8Decode(bytes, false);
    for (const [name, value] of new URLSearchParams(`?${text}`)) made.append(name, value);
    return made;
  }
  throw new TypeError(`the content type is ${type ?? "not given"}: formData() reads forms only`);
}
