// One run: the script's step, with its props, accounts and what earlier steps left.

import { accountFetch, endRequests } from "../globals/fetch.js";
import { log } from "../globals/console.js";
import { host } from "../host.js";
import { inspectCustom } from "../idl.js";
import { ShapeError, stepOf } from "./component.js";
import { toJson } from "./json.js";
import { isApp } from "./shape.js";

/** Thrown by `$.flow.exit`: the step stops where it stands. */
class Exit extends Error {
  name = "Exit";
}

/** Runs the step of a module. `input` and the result are JSON. */
export async function run(namespace, input) {
  const step = stepOf(namespace);
  const given = JSON.parse(input);
  const values = given.props ?? {};
  const trigger = given.trigger ?? null;
  const left = { exports: new Map(), exit: null, respond: null };
  const steps = stepsOf(given.steps ?? {}, trigger);
  const accounts = accountsOf(step.props);

  const value = step.native
    ? await step.run(values, { accounts: asked(accounts), steps, trigger, log })
    : await familiar(step, values, accounts, steps, left);
  return JSON.stringify({
    value: left.exit === null ? toJson(value, "the output") : "null",
    exports: [...left.exports],
    exit: left.exit,
    respond: left.respond,
  });
}

/** What earlier steps left: exports by name, and the output under both of its names. */
function stepsOf(earlier, trigger) {
  const steps = {};
  for (const [name, { output = null, exports = {} }] of Object.entries(earlier)) {
    steps[name] = { ...exports, output, $return_value: output };
  }
  steps.trigger = { event: trigger };
  return steps;
}

/** By prop. An optional one that is not bound is not there. */
function accountsOf(props) {
  const accounts = new Map();
  for (const [name, prop] of Object.entries(props)) {
    if (!isApp(prop)) continue;
    try {
      accounts.set(name, host.account(name));
    } catch (error) {
      if (!(prop.optional && error?.code === "not-bound")) throw error;
    }
  }
  return accounts;
}

/** `accounts` of a native step: a name that is no prop of it is an error that says so. */
function asked(accounts) {
  const given = {};
  for (const [name, facts] of accounts) {
    const account = Object.assign({ fetch: accountFetch(name) }, facts);
    // A marker is worth nothing elsewhere, but logs need not be full of them.
    Object.defineProperty(account, "markers", { value: facts.markers, enumerable: false });
    given[name] = account;
  }
  return new Proxy(given, {
    get(target, name, receiver) {
      if (typeof name === "string" && !(name in target) && name !== "then" && name !== "toJSON") {
        const known = Object.keys(target).join(", ") || "none";
        throw new ReferenceError(
          `no account is bound to \`${name}\` (there are: ${known}): declare it in \`export const props\` as ` +
            `{ type: "app", app: "…" }`,
        );
      }
      return Reflect.get(target, name, receiver);
    },
  });
}

function familiar(step, values, accounts, steps, left) {
  const self = {};
  for (const [name, prop] of Object.entries(step.props)) {
    if (!isApp(prop)) self[name] = values[name];
    else if (accounts.has(name)) self[name] = appProp(name, accounts.get(name));
  }
  for (const [name, method] of Object.entries(step.methods)) self[name] = method.bind(self);
  return new Promise((resolve, reject) => {
    const $ = dollar(left, resolve);
    const settled = (async () => step.run.call(self, { steps, $ }))();
    settled.then(resolve, (error) => (left.exit === null ? reject(error) : resolve()));
  });
}

/** `this.slack`: markers and what the owner gave at connect, under the names that code knows. */
function appProp(name, facts) {
  const auth = { ...facts.inputs, ...facts.markers };
  const prop = { $auth: auth, $name: facts.name, $identity: facts.identity, fetch: accountFetch(name) };
  Object.defineProperty(prop, inspectCustom, { value: () => `[account ${facts.name}]` });
  return prop;
}

/** `$`: what a familiar step says to its workflow. */
function dollar(left, end) {
  const absent = (what, instead) => () => {
    throw new ShapeError(`\`${what}\` is not there: ${instead}`);
  };
  return {
    export(name, value) {
      const key = `${name}`;
      if (["output", "$return_value"].includes(key)) throw new TypeError(`\`${key}\` is what the step returns: export another name`);
      left.exports.set(key, toJson(value, `the export \`${key}\``));
    },
    flow: {
      exit(reason = "") {
        left.exit = `${reason}`;
        const error = new Exit("the step has ended with $.flow.exit");
        endRequests(error);
        end();
        throw error;
      },
      delay: absent("$.flow.delay", "let the workflow wait, or use setTimeout within the step's time"),
      suspend: absent("$.flow.suspend", "start another run by the workflow's HTTP trigger"),
      resume: absent("$.flow.resume", "start another run by the workflow's HTTP trigger"),
      rerun: absent("$.flow.rerun", "let the workflow's `retry` do it"),
      refreshTimeout: absent("$.flow.refreshTimeout", "set the step's time limit"),
    },
    respond(answer) {
      left.respond = responseOf(answer, left.respond !== null);
    },
    send: new Proxy(
      {},
      {
        get: (_target, what) => {
          if (typeof what !== "string") return undefined;
          return absent(`$.send.${what}`, "send it with fetch, through an account or to a host that the operator allows");
        },
      },
    ),
  };
}

function responseOf(answer, again) {
  if (again) throw new TypeError("$.respond was called before: an answer is given once");
  if (typeof answer !== "object" || answer === null) throw new TypeError("$.respond needs { status, headers, body }");
  const { status = 200, headers = {}, body = null, ...rest } = answer;
  const odd = Object.keys(rest)[0];
  if (odd !== undefined) throw new TypeError(`$.respond takes status, headers and body, not \`${odd}\``);
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new RangeError(`$.respond: ${status} is no status from 200 to 599`);
  }
  const texts = Object.fromEntries(new Headers(headers));
  return toJson({ status, headers: texts, body }, "the answer");
}
