// FormData (XHR section 5), and its form on the wire: multipart/form-data, written and read.

import { host } from "../host.js";
import { decorate, expose, inspectable, iterable, needs, usvString } from "../idl.js";
import { File, blobBytes, isBlob, joined, withoutMark } from "./blob.js";

let entriesOf;

class FormData {
  #entries = [];

  static {
    entriesOf = (form) => form.#entries;
  }

  constructor(form = undefined) {
    if (form !== undefined) throw new TypeError("FormData takes no form here: there is no page");
  }

  append(name, value, filename = undefined) {
    needs(2, arguments.length, "FormData.append");
    this.#entries.push(entry(name, value, filename, arguments.length > 2));
  }

  set(name, value, filename = undefined) {
    needs(2, arguments.length, "FormData.set");
    const made = entry(name, value, filename, arguments.length > 2);
    const at = this.#entries.findIndex(([other]) => other === made[0]);
    if (at < 0) {
      this.#entries.push(made);
    } else {
      this.#entries = this.#entries.filter(([other], place) => other !== made[0] || place === at);
      this.#entries[at] = made;
    }
  }

  delete(name) {
    needs(1, arguments.length, "FormData.delete");
    const wanted = usvString(name);
    this.#entries = this.#entries.filter(([other]) => other !== wanted);
  }

  get(name) {
    needs(1, arguments.length, "FormData.get");
    const wanted = usvString(name);
    return this.#entries.find(([other]) => other === wanted)?.[1] ?? null;
  }

  getAll(name) {
    needs(1, arguments.length, "FormData.getAll");
    const wanted = usvString(name);
    return this.#entries.filter(([other]) => other === wanted).map(([, value]) => value);
  }

  has(name) {
    needs(1, arguments.length, "FormData.has");
    const wanted = usvString(name);
    return this.#entries.some(([other]) => other === wanted);
  }
}

function entry(name, value, filename, named) {
  const key = usvString(name);
  if (!isBlob(value)) {
    if (named) throw new TypeError(`the field \`${key}\` has a file name, but its value is no Blob`);
    return [key, usvString(value)];
  }
  if (!named) return [key, value instanceof File ? value : new File([value], "blob", { type: value.type })];
  return [key, new File([value], filename, { type: value.type, lastModified: value.lastModified })];
}

decorate(FormData, "FormData");
iterable(FormData, entriesOf);
inspectable(FormData, (form) => entriesOf(form).map(([name, value]) => [name, value]));
expose("FormData", FormData);

const escapeName = (name) => name.replaceAll("\n", "%0A").replaceAll("\r", "%0D").replaceAll('"', "%22");
const newlines = (text) => text.replaceAll(/\r\n?|\n/g, "\r\n");

/** The bytes and the boundary of a form (HTML section 4.10.22.7). */
export function multipart(form) {
  const random = [...host.random(16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const boundary = `----formdata-${random}`;
  const pieces = [];
  for (const [name, value] of entriesOf(form)) {
    let head = `--${boundary}\r\nContent-Disposition: form-data; name="${escapeName(newlines(name))}"`;
    if (typeof value === "string") {
      pieces.push(host.utf8Encode(`${head}\r\n\r\n${newlines(value)}\r\n`));
    } else {
      head += `; filename="${escapeName(value.name)}"\r\nContent-Type: ${value.type || "application/octet-stream"}`;
      pieces.push(host.utf8Encode(`${head}\r\n\r\n`), blobBytes(value), host.utf8Encode("\r\n"));
    }
  }
  pieces.push(host.utf8Encode(`--${boundary}--\r\n`));
  return { bytes: joined(pieces), boundary };
}

/** The form that stands in a body of multipart/form-data (Fetch's "multipart/form-data parser"). */
export function parseMultipart(bytes, boundary) {
  const bad = (what) => new TypeError(`the body is no multipart/form-data: ${what}`);
  const dashes = host.utf8Encode(`--${boundary}`);
  const form = new FormData();
  let at = bytes[0] === 13 && bytes[1] === 10 ? 2 : 0;
  for (;;) {
    if (!matches(bytes, dashes, at)) throw bad("no boundary where a part begins");
    at += dashes.length;
    if (bytes[at] === 45 && bytes[at + 1] === 45) return form;
    while (bytes[at] === 32 || bytes[at] === 9) at += 1;
    if (bytes[at] !== 13 || bytes[at + 1] !== 10) throw bad("no line break behind a boundary");
    at += 2;
    const headers = new Map();
    while (bytes[at] !== 13 || bytes[at + 1] !== 10) {
      const end = indexOfLineEnd(bytes, at);
      if (end < 0) throw bad("a part has no end");
      const line = host.utf8Decode(bytes.subarray(at, end), false);
      const colon = line.indexOf(":");
      if (colon < 1) throw bad("a part's header has no name");
      headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
      at = end + 2;
    }
    at += 2;
    const end = indexOfBoundary(bytes, dashes, at);
    if (end < 0) throw bad("the last boundary is missing");
    const { name, filename } = disposition(headers.get("content-disposition"));
    if (name === undefined) throw bad("a part has no name");
    const body = bytes.subarray(at, end);
    if (filename === undefined) {
      form.append(name, withoutMark(host.utf8Decode(body, false), body));
    } else {
      const type = headers.get("content-type") ?? "text/plain";
      form.append(name, new File([body], filename, { type }));
    }
    at = end + 2;
  }
}

function matches(bytes, wanted, at) {
  for (let offset = 0; offset < wanted.length; offset += 1) {
    if (bytes[at + offset] !== wanted[offset]) return false;
  }
  return true;
}

function indexOfLineEnd(bytes, from) {
  for (let at = bytes.indexOf(13, from); at >= 0; at = bytes.indexOf(13, at + 1)) {
    if (bytes[at + 1] === 10) return at;
  }
  return -1;
}

function indexOfBoundary(bytes, dashes, from) {
  for (let at = indexOfLineEnd(bytes, from); at >= 0; at = indexOfLineEnd(bytes, at + 1)) {
    if (matches(bytes, dashes, at + 2)) return at;
  }
  return -1;
}

function disposition(value) {
  const found = {};
  if (value === undefined || !/^form-data\s*;/i.test(value)) return found;
  for (const [, key, quoted, bare] of value.matchAll(/;\s*([\w*-]+)=(?:"([^"]*)"|([^;]*))/g)) {
    const text = quoted ?? bare.trim();
    const plain = text.replaceAll(/%0A/gi, "\n").replaceAll(/%0D/gi, "\r").replaceAll("%22", '"');
    found[key.toLowerCase()] ??= plain;
  }
  return found;
}

export { FormData };
