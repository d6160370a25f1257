// TextEncoder, TextDecoder and their streams: `@exodus/bytes`, whose UTF-8 is the host's (see build.mjs), behind
// classes that look as the standard says.

import {
  TextDecoder as Decoder,
  TextEncoder as Encoder,
  TextDecoderStream as DecoderStream,
  TextEncoderStream as EncoderStream,
} from "@exodus/bytes/encoding.js";
import { bytesView, decorate, dictionary, expose } from "../idl.js";

function bytes(input) {
  if (input === undefined) return undefined;
  const view = bytesView(input);
  if (view === undefined) throw new TypeError("TextDecoder.decode needs an ArrayBuffer or a view of one");
  return view;
}

export class TextEncoder {
  #encoder = new Encoder();

  get encoding() {
    return this.#encoder.encoding;
  }

  encode(input = "") {
    return this.#encoder.encode(`${input}`);
  }

  encodeInto(source, destination) {
    return this.#encoder.encodeInto(`${source}`, destination);
  }
}

export class TextDecoder {
  #decoder;

  constructor(label = "utf-8", options = undefined) {
    this.#decoder = new Decoder(`${label}`, dictionary(options, "TextDecoder's options"));
  }

  get encoding() {
    return this.#decoder.encoding;
  }

  get fatal() {
    return this.#decoder.fatal;
  }

  get ignoreBOM() {
    return this.#decoder.ignoreBOM;
  }

  decode(input = undefined, options = undefined) {
    return this.#decoder.decode(bytes(input), dictionary(options, "TextDecoder.decode's options"));
  }
}

export class TextEncoderStream {
  #inner = new EncoderStream();

  get encoding() {
    return this.#inner.encoding;
  }

  get readable() {
    return this.#inner.readable;
  }

  get writable() {
    return this.#inner.writable;
  }
}

export class TextDecoderStream {
  #inner;

  constructor(label = "utf-8", options = undefined) {
    this.#inner = new DecoderStream(`${label}`, dictionary(options, "TextDecoderStream's options"));
  }

  get encoding() {
    return this.#inner.encoding;
  }

  get fatal() {
    return this.#inner.fatal;
  }

  get ignoreBOM() {
    return this.#inner.ignoreBOM;
  }

  get readable() {
    return this.#inner.readable;
  }

  get writable() {
    return this.#inner.writable;
  }
}

for (const [name, Class] of Object.entries({ TextEncoder, TextDecoder, TextEncoderStream, TextDecoderStream })) {
  expose(name, decorate(Class, name));
}
