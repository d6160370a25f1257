// Web Crypto, as far as steps need it: random values, digests and HMAC, all by the host. Anything else is refused by
// name.

import { host } from "../host.js";
import { bytesView, decorate, expose, inspectable, needs } from "../idl.js";
import { DOMException } from "./exception.js";

const HASHES = { "SHA-1": 64, "SHA-256": 64, "SHA-384": 128, "SHA-512": 128 };
const INTEGERS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  BigInt64Array,
  BigUint64Array,
];
const MOST_BYTES = 65_536;
const OFFERED = "this sandbox offers digest (SHA-1, SHA-256, SHA-384, SHA-512) and HMAC (importKey raw, sign, verify)";

const internal = Symbol("internal");
let secretOf;

function fail(name, message) {
  throw new DOMException(message, name);
}

class CryptoKey {
  #secret;
  #algorithm;
  #extractable;
  #usages;

  static {
    secretOf = (key) => key.#secret;
  }

  constructor(key, secret, algorithm, extractable, usages) {
    if (key !== internal) throw new TypeError("CryptoKey has no constructor: use crypto.subtle.importKey");
    this.#secret = secret;
    this.#algorithm = algorithm;
    this.#extractable = extractable;
    this.#usages = usages;
  }

  get type() {
    this.#secret;
    return "secret";
  }

  get extractable() {
    return this.#extractable;
  }

  get algorithm() {
    return this.#algorithm;
  }

  get usages() {
    return this.#usages;
  }
}

/** The name of an AlgorithmIdentifier as the standard writes it, if it is one of `names`. */
function algorithm(identifier, names, what) {
  const name = typeof identifier === "object" && identifier !== null ? identifier.name : identifier;
  if (name === undefined) throw new TypeError(`${what} needs an algorithm with a name`);
  const upper = `${name}`.toUpperCase();
  const found = names.find((known) => known === upper);
  if (found === undefined) fail("NotSupportedError", `${what} with ${name} is not there: ${OFFERED}`);
  return found;
}

function data(value, what) {
  const view = bytesView(value);
  if (view === undefined) throw new TypeError(`${what} needs an ArrayBuffer or a view of one`);
  return view.slice();
}

function hmacKey(key, usage) {
  if (!(key instanceof CryptoKey)) throw new TypeError(`${usage} needs a CryptoKey`);
  if (!key.usages.includes(usage)) fail("InvalidAccessError", `this key is not for ${usage}`);
  return (bytes) => host.hmac(key.algorithm.hash.name, secretOf(key), bytes);
}

class SubtleCrypto {
  constructor(key) {
    if (key !== internal) throw new TypeError("SubtleCrypto has no constructor: use crypto.subtle");
  }

  async digest(identifier, input) {
    needs(2, arguments.length, "SubtleCrypto.digest");
    const name = algorithm(identifier, Object.keys(HASHES), "digest");
    return host.digest(name, data(input, "digest")).buffer;
  }

  async importKey(format, keyData, identifier, extractable, keyUsages) {
    needs(5, arguments.length, "SubtleCrypto.importKey");
    algorithm(identifier, ["HMAC"], "importKey");
    if (format !== "raw") fail("NotSupportedError", `importKey of ${format} is not there: ${OFFERED}`);
    const hash = algorithm(identifier.hash, Object.keys(HASHES), "HMAC");
    const usages = [...keyUsages].map(String);
    const known = ["encrypt", "decrypt", "sign", "verify", "deriveKey", "deriveBits", "wrapKey", "unwrapKey"];
    const odd = usages.find((usage) => !known.includes(usage));
    if (odd !== undefined) throw new TypeError(`"${odd}" is no usage of a key`);
    if (usages.some((usage) => usage !== "sign" && usage !== "verify")) {
      fail("SyntaxError", "a key for HMAC can sign and verify only");
    }
    const secret = data(keyData, "importKey");
    if (usages.length === 0) fail("SyntaxError", "a secret key needs a usage");
    const length = secret.length * 8;
    if (length === 0) fail("DataError", "the key is empty");
    if (identifier.length !== undefined && identifier.length !== length) {
      fail("DataError", `the key has ${length} bits, not ${identifier.length}`);
    }
    const wanted = ["sign", "verify"].filter((usage) => usages.includes(usage));
    const made = { name: "HMAC", length, hash: { name: hash } };
    return new CryptoKey(internal, secret, made, Boolean(extractable), wanted);
  }

  async sign(identifier, key, input) {
    needs(3, arguments.length, "SubtleCrypto.sign");
    algorithm(identifier, ["HMAC"], "sign");
    return hmacKey(key, "sign")(data(input, "sign")).buffer;
  }

  async verify(identifier, key, signature, input) {
    needs(4, arguments.length, "SubtleCrypto.verify");
    algorithm(identifier, ["HMAC"], "verify");
    const given = data(signature, "verify");
    const wanted = hmacKey(key, "verify")(data(input, "verify"));
    if (given.length !== wanted.length) return false;
    // All bytes are looked at, whatever the first of them says.
    let difference = 0;
    for (let at = 0; at < wanted.length; at += 1) difference |= wanted[at] ^ given[at];
    return difference === 0;
  }
}

for (const name of [
  "encrypt",
  "decrypt",
  "deriveBits",
  "deriveKey",
  "exportKey",
  "generateKey",
  "unwrapKey",
  "wrapKey",
]) {
  const refuse = {
    async [name]() {
      fail("NotSupportedError", `crypto.subtle.${name} is not there: ${OFFERED}`);
    },
  };
  Object.defineProperty(SubtleCrypto.prototype, name, { value: refuse[name], writable: true, configurable: true });
}

class Crypto {
  #subtle = new SubtleCrypto(internal);

  constructor(key) {
    if (key !== internal) throw new TypeError("Crypto has no constructor: use crypto");
  }

  get subtle() {
    return this.#subtle;
  }

  getRandomValues(array) {
    this.#subtle;
    needs(1, arguments.length, "Crypto.getRandomValues");
    if (!ArrayBuffer.isView(array)) throw new TypeError("getRandomValues needs an array of integers");
    if (!INTEGERS.some((Type) => array instanceof Type)) {
      fail("TypeMismatchError", "getRandomValues needs an array of integers");
    }
    const view = bytesView(array);
    if (view.length > MOST_BYTES) fail("QuotaExceededError", `getRandomValues gives at most ${MOST_BYTES} bytes a call`);
    if (view.length > 0) view.set(host.random(view.length));
    return array;
  }

  randomUUID() {
    this.#subtle;
    const bytes = host.random(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }
}

for (const [name, Class] of Object.entries({ Crypto, SubtleCrypto, CryptoKey })) expose(name, decorate(Class, name));
inspectable(CryptoKey, ({ type, extractable, algorithm: of, usages }) => ({ type, extractable, algorithm: of, usages }));
expose("crypto", new Crypto(internal));
