// Blob and File (File API). Their bytes stand in memory and can be read at once, which a request's body needs.

import { host } from "../host.js";
import { bytesView, decorate, dictionary, expose, inspectable, needs, oneOf, usvString } from "../idl.js";
import { ReadableStream } from "./streams.js";

const CHUNK_BYTES = 64 << 10;

let bytesOf;

class Blob {
  #bytes;
  #type;

  static {
    bytesOf = (blob) => blob.#bytes;
  }

  constructor(parts = undefined, options = undefined) {
    const list = [];
    if (parts !== undefined) {
      const iterator = typeof parts === "object" && parts !== null ? parts[Symbol.iterator] : undefined;
      if (typeof iterator !== "function") throw new TypeError("Blob's parts are no list");
      for (const part of { [Symbol.iterator]: () => iterator.call(parts) }) {
        list.push(bytesView(part) !== undefined || isBlob(part) ? part : `${part}`);
      }
    }
    const settings = dictionary(options, "Blob's options");
    const { endings = "transparent", type = "" } = settings;
    const native = oneOf(endings, ["transparent", "native"], "Blob's endings") === "native";
    this.#type = mediaType(`${type}`);
    this.#bytes = joined(
      list.map((part) => {
        if (typeof part === "string") {
          return host.utf8Encode(usvString(native ? part.replaceAll(/\r\n?/g, "\n") : part));
        }
        return isBlob(part) ? part.#bytes : bytesView(part);
      }),
    );
  }

  get size() {
    return this.#bytes.length;
  }

  get type() {
    return this.#type;
  }

  slice(start = undefined, end = undefined, contentType = "") {
    const size = this.#bytes.length;
    const place = (value, otherwise) => {
      if (value === undefined) return otherwise;
      const number = clamped(value);
      return number < 0 ? Math.max(size + number, 0) : Math.min(number, size);
    };
    const from = place(start, 0);
    const to = Math.max(place(end, size), from);
    const slice = new Blob([], { type: `${contentType}` });
    // Not copied: nobody can write into a blob's bytes.
    slice.#bytes = this.#bytes.subarray(from, to);
    return slice;
  }

  async text() {
    return withoutMark(host.utf8Decode(this.#bytes, false), this.#bytes);
  }

  async arrayBuffer() {
    return this.#bytes.slice().buffer;
  }

  async bytes() {
    return this.#bytes.slice();
  }

  stream() {
    const bytes = this.#bytes;
    let at = 0;
    return new ReadableStream({
      type: "bytes",
      pull(controller) {
        if (at < bytes.length) {
          controller.enqueue(bytes.slice(at, at + CHUNK_BYTES));
          at += CHUNK_BYTES;
        }
        if (at >= bytes.length) {
          controller.close();
          controller.byobRequest?.respond(0);
        }
      },
    });
  }
}

class File extends Blob {
  #name;
  #lastModified;

  constructor(parts, name, options = undefined) {
    needs(2, arguments.length, "File");
    super(parts, options);
    this.#name = usvString(name);
    const { lastModified } = dictionary(options, "File's options");
    this.#lastModified = lastModified === undefined ? Date.now() : Math.trunc(Number(lastModified)) || 0;
  }

  get name() {
    return this.#name;
  }

  get lastModified() {
    return this.#lastModified;
  }

  get webkitRelativePath() {
    return "";
  }
}

/** The bytes of a blob, which nobody may write into. */
export const blobBytes = (blob) => bytesOf(blob);

export const isBlob = (value) => value instanceof Blob;

export function joined(pieces) {
  if (pieces.length === 1) return pieces[0].slice();
  const all = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Web IDL's `[Clamp] long long`. */
function clamped(value) {
  const number = Number(value);
  if (Number.isNaN(number)) return 0;
  return Math.min(Math.max(Math.round(number), -Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);
}

function mediaType(type) {
  return /^[\x20-\x7e]*$/.test(type) ? type.toLowerCase() : "";
}

/** "UTF-8 decode" drops a byte order mark. */
export function withoutMark(text, bytes) {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? text.slice(1) : text;
}

decorate(Blob, "Blob");
decorate(File, "File");
inspectable(Blob, (blob) => ({ size: blob.size, type: blob.type }));
inspectable(File, (file) => ({ name: file.name, size: file.size, type: file.type }));
expose("Blob", Blob);
expose("File", File);

export { Blob, File };
