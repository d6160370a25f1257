// Tests that fail, each with its reason: `[file, test, reason]`. A failure that is not here fails the suite.

const THREADS = "threads and other realms do not exist here: no SharedArrayBuffer to share, no MessageChannel, no WebAssembly";
const OLD = "the standard has changed since that copy of the tests";
const LIBRARY = "the library does not do it";
const SERVER = "this is no browser: as in Node and Deno, scripts may see and set more";
const HARNESS = "the tests' server or page is not here";

export const EXPECTED = [
  [/./, /SharedArrayBuffer/, THREADS],
  [/encoding\/(streams\/decode-utf8|textdecoder-(copy|streaming))/, /^\(the file\)$/, THREADS],
  [/./, /MessagePort|MessageChannel|detached output buffer|transfer only values/, THREADS],
  [/non-transferable-buffers/, /./, THREADS],
  [/./, /Float16Array|Passing typed arrays as elements/, "Node 20 has no Float16Array; the sandbox's engine has"],
  [/dom\/abort\/event/, /right properties/, "events made by scripts cannot be trusted, and the library makes all of them"],
  [/dom\/events\/AddEventListenerOptions-signal/, /Passing null/, LIBRARY],
  [/dom\/events\/Event-constructors/, /^Event-constructors 1$/, LIBRARY],
  [/dom\/events\/EventTarget-constructible/, /dispatch correctly/, LIBRARY],
  [/encoding\/replacement-encodings/, /./, "there is no XMLHttpRequest"],
  [/hr-time/, /extends EventTarget|positive number/, "the clock starts with the run, and has no events"],
  [/queue-microtask-exceptions/, /./, "an uncaught error ends the run; there is no window to hear of it"],
  [/url\/historical/, /location/, HARNESS],
  [/url\//, /xn--|opaque path|\^_|space/i, OLD],
  [/DOMException-custom-bindings/, /class-side/, "so that a DOMException is an Error to the engine, with a stack"],
  [/writable-streams\/general/, /size should not be called/, "in the real sandbox a test is evaluated in one piece, which is not strict"],
  [/owning-type/, /./, "streams that own their chunks are a proposal"],
  [/streams\/piping\/general-addition|bad-buffers-and-views|readable-streams\/async-iterator/, /./, LIBRARY],
  [/fetch\/api\/abort/, /not valid$|no-cors/, HARNESS],
  [/mime-type/, /with clone/, "the test puts the headers into the Blob's options, which a standard Blob ignores"],
  [/header-setcookie/, /forbidden response header/, SERVER],
  [/header-values/, /fetch\(\)|XMLHttpRequest/, "control characters and XMLHttpRequest: neither leaves this host"],
  [/headers-no-cors|request-headers|request-error|headers-basic/, /no-cors|[Ii]nvalid request header|filtering/, SERVER],
  [/redirect-location|redirect-empty-location/, /manual/, SERVER],
  [/redirect-method/, /TESTING/, "Node's HTTP parser knows no such method"],
  [/consume-empty/, /empty FormData/, "a form without fields still has its last boundary, as everywhere"],
  [/request-disturbed/, /even if body is not used/, OLD],
  [/response\/json/, /parser/, "there are no data: URLs to fetch"],
  [/response-consume-stream/, /redirect Response/, "Response.redirect needs an absolute URL: there is no page"],
  [/response-clone/, /structureClone/, "chunks of a script's own stream are shared by both branches of a clone"],
  [/broken-then/, /./, "a script that bends Object.prototype bends its own sandbox only"],
];

export function reason(file, test) {
  return EXPECTED.find(([files, tests]) => files.test(file) && tests.test(test))?.[2];
}
