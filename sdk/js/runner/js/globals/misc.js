// atob, btoa, structuredClone, navigator, performance, self.

import "core-js/modules/web.structured-clone.js";
import { host } from "../host.js";
import { decorate, expose, needs } from "../idl.js";
import { DOMException } from "./exception.js";

function characterError(message) {
  return new DOMException(message, "InvalidCharacterError");
}

expose("btoa", function btoa(data) {
  needs(1, arguments.length, "btoa");
  const text = `${data}`;
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code > 255) throw characterError(`btoa takes characters up to U+00FF; the one at ${at} is beyond`);
    bytes[at] = code;
  }
  return host.toBase64(bytes);
});

expose("atob", function atob(data) {
  needs(1, arguments.length, "atob");
  let text = `${data}`.replaceAll(/[\t\n\f\r ]/g, "");
  if (text.length % 4 === 0) text = text.replace(/={1,2}$/, "");
  if (text.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(text)) throw characterError("the text is no base64");
  // Bits beyond the last byte are dropped, as the standard says.
  const strict = { 2: (last) => last & 0x30, 3: (last) => last & 0x3c }[text.length % 4];
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (strict) text = text.slice(0, -1) + alphabet[strict(alphabet.indexOf(text.at(-1)))];
  const bytes = host.fromBase64(text.padEnd(Math.ceil(text.length / 4) * 4, "="));
  let result = "";
  for (let at = 0; at < bytes.length; at += 4096) result += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return result;
});

const { structuredClone } = globalThis;
expose("structuredClone", structuredClone);
// What core-js keeps for other copies of itself.
delete globalThis["__core-js_shared__"];

class Navigator {
  get userAgent() {
    return "Deputy";
  }

  get language() {
    return "en";
  }

  get onLine() {
    return true;
  }
}
decorate(Navigator, "Navigator");
expose("Navigator", Navigator);
expose("navigator", new Navigator());
expose("self", globalThis);

if (globalThis.performance === undefined) {
  let origin;
  class Performance {
    now() {
      origin ??= host.now();
      return host.now() - origin;
    }

    get timeOrigin() {
      origin ??= host.now();
      return origin;
    }

    toJSON() {
      return { timeOrigin: this.timeOrigin };
    }
  }
  decorate(Performance, "Performance");
  expose("Performance", Performance);
  expose("performance", new Performance());
}
