// fetch: the one place where a request leaves. The host adds credentials, keeps to the rules and never follows a
// redirect; following happens here, as new requests under the same rules.

import { host } from "../host.js";
import { expose, needs, usvString } from "../idl.js";
import { addAlgorithm, removeAlgorithm } from "./abort.js";
import { headerList } from "./headers.js";
import { REDIRECTS, ofHost } from "./response.js";
import { Request, requestParts } from "./request.js";
import { URL } from "./url.js";

const MOST_REDIRECTS = 20;
const ABSOLUTE = /^[a-z][a-z0-9+.-]*:/i;
/** About the body that a redirect drops. */
const OF_BODY = ["content-encoding", "content-language", "content-location", "content-type"];
/** Meant for the origin that was asked. */
const OF_ORIGIN = ["authorization", "cookie", "proxy-authorization"];

/** Why nothing leaves any more; set when the step has ended. */
let ended = null;

export function endRequests(error) {
  ended = error;
}

function fetch(input, init = undefined) {
  return promised(() => {
    needs(1, arguments.length, "fetch");
    const request = new Request(input, init);
    const { protocol } = new URL(request.url);
    if (protocol !== "https:" && protocol !== "http:") {
      throw new TypeError(`fetch goes to https and http only, not to ${protocol}`);
    }
    return exchange(null, null, request.url.split("#", 1)[0], request);
  });
}

/** A throw becomes a rejection. Not an async function: those take two turns more to give a promise on. */
function promised(work) {
  try {
    return work();
  } catch (error) {
    return Promise.reject(error);
  }
}

/** fetch through an account: `input` may be a path below the app's base. */
export function accountFetch(prop) {
  return (input, init = undefined) => promised(() => begin(input, init));

  function begin(input, init) {
    if (input === undefined) throw new TypeError(`fetch of the account \`${prop}\` needs a path or a URL`);
    const identity = init?.identity === undefined || init.identity === null ? null : `${init.identity}`;
    if (input instanceof Request) return exchange(prop, identity, input.url, new Request(input, init));
    const target = usvString(input);
    // Only the host knows the app's base; the request is made for a name that goes nowhere.
    const absolute = ABSOLUTE.test(target);
    const request = new Request(absolute ? target : "https://account.invalid/", init);
    return exchange(prop, identity, absolute ? request.url.split("#", 1)[0] : target, request);
  }
}

function exchange(prop, identity, target, request) {
  const { signal } = request;
  const { body } = requestParts(request);
  if (signal.aborted) {
    body?.stream?.cancel(signal.reason).catch(() => {});
    return Promise.reject(signal.reason);
  }
  // Made here, where the script's frames are still there: a refusal comes when they are gone.
  return exchanged(prop, identity, target, request, body, new TypeError("fetch failed"));
}

async function exchanged(prop, identity, target, request, body, failure) {
  const { signal, redirect } = request;
  const message = {
    method: request.method,
    target,
    headers: [...headerList(request.headers)],
    bytes: body === null ? null : body.bytes !== null ? body.bytes : await collected(body, signal),
  };
  if (body !== null) body.used = true;
  const accept = message.headers.some(([name]) => name === "accept");
  if (!accept) message.headers.push(["accept", "*/*"]);

  for (let redirects = 0; ; redirects += 1) {
    const answer = await send(prop, identity, message, signal, failure);
    // The host may tell where a path below the app's base led to.
    const url = answer.url ?? (ABSOLUTE.test(message.target) ? message.target : "");
    const location = REDIRECTS.includes(answer.status) ? locationOf(answer) : null;
    if (location === null || redirect === "manual") return ofHost(answer, url, redirects > 0, signal);
    host.close(answer.body);
    if (redirect === "error") throw new TypeError(`the answer is a redirect to ${location}, which this request refuses`);
    if (redirects === MOST_REDIRECTS) throw new TypeError(`more than ${MOST_REDIRECTS} redirects, the last to ${location}`);
    follow(message, answer.status, url, location);
  }
}

async function collected(body, signal) {
  let stop;
  const aborted = new Promise((_, reject) => {
    stop = (reason) => {
      body.abandon(reason);
      reject(reason);
    };
    addAlgorithm(signal, stop);
  });
  try {
    return await Promise.race([body.collect(), aborted]);
  } finally {
    removeAlgorithm(signal, stop);
  }
}

function send(prop, identity, { method, target, headers, bytes }, signal, failure) {
  return new Promise((resolve, reject) => {
    if (ended !== null) throw ended;
    signal.throwIfAborted();
    let started;
    try {
      started = host.start(prop, method, target, headers, bytes, null, identity);
    } catch (error) {
      throw told(failure, error);
    }
    const stop = (reason) => {
      host.cancel(started.id);
      reject(reason);
    };
    addAlgorithm(signal, stop);
    started.promise.then(
      (answer) => {
        removeAlgorithm(signal, stop);
        resolve(answer);
      },
      (error) => {
        removeAlgorithm(signal, stop);
        reject(told(failure, error));
      },
    );
  });
}

/** The host's refusal as fetch tells it: a TypeError whose cause has the code and the fix. */
function told(failure, error) {
  const fix = error?.fix ? ` (${error.fix})` : "";
  const own = (value) => ({ value, writable: true, configurable: true });
  return Object.defineProperties(failure, { message: own(`${error?.message ?? error}${fix}`), cause: own(error) });
}

function locationOf(answer) {
  const found = answer.headers.find(([name]) => name.toLowerCase() === "location");
  return found === undefined ? null : found[1];
}

function follow(message, status, url, location) {
  const next = url === "" ? URL.parse(location) : URL.parse(location, url);
  if (next === null && url === "") {
    throw new TypeError(
      `the answer is a redirect to ${location}, relative to a URL that only the host knows: ask with an absolute URL, ` +
        'or with `redirect: "manual"`',
    );
  }
  if (next === null || (next.protocol !== "https:" && next.protocol !== "http:")) {
    throw new TypeError(`the answer is a redirect to ${location}, which is no http URL`);
  }
  if (next.username !== "" || next.password !== "") {
    throw new TypeError("the answer is a redirect to a URL with a user name or a password");
  }
  const drop = (names) => {
    message.headers = message.headers.filter(([name]) => !names.includes(name));
  };
  const toGet = status === 303 ? message.method !== "HEAD" : status <= 302 && message.method === "POST";
  if (toGet && message.method !== "GET") {
    message.method = "GET";
    message.bytes = null;
    drop(OF_BODY);
  }
  if (url === "" || new URL(url).origin !== next.origin) drop(OF_ORIGIN);
  const fragmentless = new URL(next);
  fragmentless.hash = "";
  message.target = fragmentless.href;
}

expose("fetch", fetch);
