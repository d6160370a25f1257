// Props: from what a script says to what the host knows.

import { ShapeError, stepOf } from "./component.js";

const KINDS = {
  string: { kind: "text" },
  integer: { kind: "integer" },
  number: { kind: "number" },
  boolean: { kind: "boolean" },
  object: { kind: "object" },
  any: { kind: "json" },
  "string[]": { kind: "list-of", of: "text" },
  "integer[]": { kind: "list-of", of: "integer" },
  "number[]": { kind: "list-of", of: "number" },
  "boolean[]": { kind: "list-of", of: "boolean" },
  "object[]": { kind: "list-of", of: "object" },
  "any[]": { kind: "list-of", of: "json" },
};
const COMMON = ["type", "label", "description", "optional"];
const APP_FIELDS = [...COMMON, "app", "scopes", "methods", "paths", "requests", "bytes"];
const FIELDS = [...COMMON, "default", "options", "secret"];

/** JSON, for the host. */
export function props(namespace) {
  const declared = stepOf(namespace).props;
  return JSON.stringify(Object.entries(declared).map(([name, prop]) => propOf(name, prop)));
}

/** Is this the declaration of an account? */
export const isApp = (prop) => typeof prop === "object" && prop !== null && prop.type === "app";

function propOf(name, given) {
  const fail = (message) => {
    throw new ShapeError(`prop \`${name}\`: ${message}`);
  };
  if (typeof given === "string") {
    if (given.startsWith("$.")) fail(notHere(given));
    return propOf(name, { type: given });
  }
  if (typeof given !== "object" || given === null || Array.isArray(given)) fail('it is no object such as { type: "string" }');
  if ("propDefinition" in given) {
    fail("`propDefinition` takes its definition from elsewhere: write its `type`, `label` and `description` here");
  }
  const { type } = given;
  if (typeof type !== "string") fail(`it has no \`type\`: one of app, ${Object.keys(KINDS).join(", ")}`);
  if (type.startsWith("$.")) fail(notHere(type));
  const app = isApp(given);
  if (!app && !Object.hasOwn(KINDS, type)) {
    fail(`there is no type \`${type}\`: take one of app, ${Object.keys(KINDS).join(", ")}`);
  }
  check(given, app, fail);
  const about = {
    name,
    label: given.label ?? null,
    help: given.description ?? null,
    optional: given.optional ?? false,
    default: null,
    options: [],
    secret: given.secret ?? false,
  };
  if (app) return { ...about, kind: "app", app: need(given, fail) };
  if (given.default !== undefined) about.default = json(given.default, "`default`", fail);
  about.options = choices(given.options, fail);
  return { ...about, ...KINDS[type] };
}

function notHere(type) {
  const instead = {
    "$.service.db": "steps keep nothing between runs: let an earlier step of the workflow read what is needed",
    "$.interface.timer": "a step does not start by itself: give the workflow a schedule",
    "$.interface.http": "a step does not listen: give the workflow an HTTP trigger",
    "$.interface.apphook": "a step does not listen: give the workflow an HTTP trigger",
  };
  return `\`${type}\` is not there: ${instead[type] ?? "steps take values and accounts only"}`;
}

function check(given, app, fail) {
  const fields = app ? APP_FIELDS : FIELDS;
  for (const field of Object.keys(given)) {
    if (app && field === "ambient") fail("`ambient` is for components: name the account, as in `this.slack.fetch(…)`");
    if (app && field === "propDefinitions") fail("`propDefinitions` is not there: write each prop where it is used");
    if (!fields.includes(field)) fail(`the field \`${field}\` means nothing here; it may have ${fields.join(", ")}`);
  }
  const are = (field, type) => {
    const value = given[field];
    if (value !== undefined && typeof value !== type) fail(`\`${field}\` is no ${type}`);
  };
  are("label", "string");
  are("description", "string");
  are("optional", "boolean");
  are("secret", "boolean");
}

function need(given, fail) {
  if (typeof given.app !== "string") fail('`app` names no app: `{ type: "app", app: "slack" }`');
  const texts = (field) => {
    const value = given[field] ?? [];
    if (Array.isArray(value) && value.every((text) => typeof text === "string")) return value;
    if (field === "methods" && typeof value === "object") {
      fail("`methods` of an app lists HTTP methods, such as [\"GET\"]; put functions into the component's own `methods`");
    }
    return fail(`\`${field}\` is no list of texts`);
  };
  const count = (field) => {
    const value = given[field] ?? null;
    if (value === null || (Number.isSafeInteger(value) && value >= 0)) return value;
    return fail(`\`${field}\` is no whole number`);
  };
  return {
    app: given.app,
    scopes: texts("scopes"),
    methods: texts("methods"),
    paths: texts("paths"),
    requests: count("requests"),
    bytes: count("bytes"),
    ambient: false,
  };
}

function choices(options, fail) {
  if (options === undefined) return [];
  if (typeof options === "function") {
    fail("`options` is a function: list the values, or leave them out and take any");
  }
  if (!Array.isArray(options)) fail("`options` is no list");
  return options.map((option) => {
    const labelled = typeof option === "object" && option !== null && "value" in option;
    const value = labelled ? option.value : option;
    const text = json(value, "a value of `options`", fail);
    const label = labelled && option.label !== undefined ? `${option.label}` : typeof value === "string" ? value : text;
    return { label, value: text };
  });
}

function json(value, what, fail) {
  let text;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    fail(`${what} is no JSON: ${error.message}`);
  }
  if (text === undefined) fail(`${what} is no JSON`);
  return text;
}
