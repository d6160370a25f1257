// Which of the web-platform tests apply to a script, and how one of them is put together.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";

/** Folders whose `*.any.js` are taken, or single files. */
const APPLY = [
  "FileAPI/blob",
  "FileAPI/file",
  "WebCryptoAPI/digest",
  "WebCryptoAPI/getRandomValues.any.js",
  "WebCryptoAPI/randomUUID.https.any.js",
  "console",
  "dom/abort",
  "dom/events/AddEventListenerOptions-once.any.js",
  "dom/events/AddEventListenerOptions-passive.any.js",
  "dom/events/AddEventListenerOptions-signal.any.js",
  "dom/events/Event-constructors.any.js",
  "dom/events/EventTarget-add-remove-listener.any.js",
  "dom/events/EventTarget-constructible.any.js",
  "encoding",
  "encoding/streams",
  "fetch/api/abort/general.any.js",
  "fetch/api/abort/request.any.js",
  "fetch/api/basic",
  "fetch/api/body",
  "fetch/api/headers",
  "fetch/api/redirect",
  "fetch/api/request",
  "fetch/api/response",
  "hr-time/basic.any.js",
  "html/webappapis/atob",
  "html/webappapis/microtask-queuing",
  "html/webappapis/structured-clone",
  "html/webappapis/timers",
  "streams/piping",
  "streams/readable-byte-streams",
  "streams/readable-streams",
  "streams/transform-streams",
  "streams/writable-streams",
  "url",
  "webidl/ecmascript-binding/es-exceptions",
  "xhr/formdata",
];

/** Names that cannot apply: pages, caches, credentials and origins of browsers, servers that are not here. */
const NOT = [
  [/\.sub\.|\.https?\.(?!any)|\.h2\.|\.window\.|tentative|idlharness|serviceworker/, "needs the tests' own server or a page"],
  [/fetch\/api\/(basic\/(mode-|referrer|request-referrer|keepalive|conditional|integrity|scheme-|request-upload|request-forbidden|request-head|request-headers|accept-header|error-after|header-value|http-response-code|mediasource|response-null-body|stream-safe|block-))/, "needs a page's origin or handlers of the tests' own server"],
  [/fetch\/api\/request\/(request-cache|request-bad-port|request-keepalive|request-init-priority|destination|multi-globals)/, "is about a browser's cache, ports or documents"],
  [/fetch\/api\/redirect\/(redirect-keepalive|redirect-referrer|redirect-origin|redirect-to-dataurl|redirect-back|redirect-schemes|redirect-mode)/, "is about a page's origin"],
  [/fetch\/api\/abort\/(cache|keepalive|serviceworker)/, "is about a browser's cache"],
  [/structured-clone-cross-realm|encoding\/(unsupported|single-byte-decoder)|sharedarraybuffer/i, "needs a page"],
  [/timers\/(evil|.*-string|.*-module)|compile/, "runs texts as code"],
  [/url\/(toascii|IdnaTestV2)-/, "needs a page"],
  [/console\/(idlharness)/, "needs the IDL parser"],
];

export function files(root) {
  const all = new Set();
  for (const place of APPLY) {
    const full = path.join(root, place);
    if (!existsSync(full)) continue;
    const names = place.endsWith(".js") ? [""] : readdirSync(full).filter((name) => name.endsWith(".any.js"));
    for (const name of names) all.add(path.posix.join(place, name));
  }
  return [...all].filter((file) => !NOT.some(([pattern]) => pattern.test(file))).sort();
}

/** The variants of a file that its META lines name; "" where there are none. */
export function variants(root, file) {
  const text = readFileSync(path.join(root, file), "utf8");
  const found = [...text.matchAll(/^\/\/ META: variant=(.*)$/gm)].map((match) => match[1].trim());
  return found.length === 0 ? [""] : found;
}

/** The classic scripts of one test, in order: `[name, source]`. */
export function scripts(root, file, base) {
  const read = (name) => [name, readFileSync(path.join(root, name), "utf8")];
  const source = read(file);
  const needed = [...source[1].matchAll(/^\/\/ META: script=(.*)$/gm)].map((match) => {
    const name = match[1].trim().split("?")[0];
    return name.startsWith("/") ? name.slice(1) : path.posix.join(path.posix.dirname(file), name);
  });
  // Data beside the test is there without a server.
  const data = {};
  // Tests of fetch itself want a real answer.
  const fetched = file.startsWith("fetch/") ? "" : source[1];
  for (const [, name] of fetched.matchAll(/fetch\("([\w./-]+\.json)"\)/g)) {
    const url = new URL(name, base);
    if (existsSync(path.join(root, url.pathname))) data[url.href] = readFileSync(path.join(root, url.pathname), "utf8");
  }
  return [["prelude.js", prelude(base, data)], read("resources/testharness.js"), ["report.js", REPORT], ...needed.map(read), source];
}

/** A test is a page: it has a place, and names relative to it. */
function prelude(base, data) {
  return `
    self.GLOBAL = { isWindow: () => false, isWorker: () => true, isShadowRealm: () => false };
    {
      const here = ${JSON.stringify(base)};
      self.location = new URL(here);
      const resolved = (input) => (input instanceof Request ? input : new URL(String(input), here).href);
      const { fetch: realFetch, Request: RealRequest } = self;
      const data = ${JSON.stringify(data)};
      self.fetch = (input, init) => {
        const url = resolved(input);
        return url in data ? Promise.resolve(new Response(data[url])) : realFetch(url, init);
      };
      self.Request = new Proxy(RealRequest, {
        construct: (target, [input, ...rest], as) =>
          Reflect.construct(target, rest.length === 0 && input === undefined ? [] : [resolved(input), ...rest], as),
      });
      RealRequest.prototype.constructor = self.Request;
    }
    // Tests of Blob read with it.
    self.FileReader = class extends EventTarget {
      #read(promise) {
        promise.then((result) => {
          this.result = result;
          for (const type of ["load", "loadend"]) {
            const event = new Event(type);
            this["on" + type]?.(event);
            this.dispatchEvent(event);
          }
        });
      }
      readAsText(blob) { this.#read(blob.text()); }
      readAsArrayBuffer(blob) { this.#read(blob.arrayBuffer()); }
    };
  `;
}

const REPORT = `
  setup({ output: false, explicit_timeout: true });
  self.__results = new Promise((resolve) => {
    add_completion_callback((tests, status) => resolve(JSON.stringify({
      status: status.status,
      message: status.message,
      tests: tests.map(({ name, status, message }) => ({ name, status, message })),
    })));
  });
`;
