// console (Console Standard). Objects are shown by Node's own inspection (`node-inspect-extracted`), texts are formatted
// as Node does, and every call is one record of the run's log.

import { formatWithOptions, inspect } from "./inspect.js";
import { host } from "../host.js";
import { DOMException } from "./exception.js";
import { inspectCustom } from "../idl.js";

/** More of one text than the host keeps of a line. */
const MOST_CHARACTERS = 64 << 10;
const OPTIONS = { depth: 4, maxArrayLength: 100, maxStringLength: 10_000, breakLength: 120 };

let indentation = "";
const counts = new Map();
const clocks = new Map();

/** What console.log writes for its arguments. */
export function formatted(values) {
  return formatWithOptions(OPTIONS, ...values.map(shown));
}

/** An engine's stack may lack the error's own line, which is the one that matters, and it has the environment's. */
function shown(value) {
  if (!(value instanceof Error) || inspectCustom in value) return value;
  const stack = typeof value.stack === "string" ? value.stack : "";
  if (stack !== "" && stack.includes(value.message) && !stack.startsWith(" ")) return value;
  const frames = stack.split("\n").filter((line) => line.trim() !== "" && !line.includes("deputy:environment"));
  const text = [`${value.name}: ${value.message}`, ...frames].join("\n");
  return { [inspectCustom]: () => withMore(value, text) };
}

/** The error's own fields and its cause, as Node shows them. */
function withMore(error, text) {
  const more = Object.keys(error).map((key) => [key, error[key]]);
  if (error.cause !== undefined) more.push(["[cause]", error.cause]);
  if (error instanceof AggregateError) more.push(["[errors]", error.errors.map(shown)]);
  if (more.length === 0) return text;
  const lines = more.map(([key, value]) => `  ${key}: ${inspect(shown(value), OPTIONS).replaceAll("\n", "\n  ")}`);
  return `${text} {\n${lines.join(",\n")}\n}`;
}

function write(level, text) {
  const cut = text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
  host.log(level, indentation === "" ? cut : indentation + cut.replaceAll("\n", `\n${indentation}`));
}

const logger = (level) =>
  (...values) => write(level, formatted(values));

/** For `log` of a native step. */
export const log = {
  debug: logger("debug"),
  info: logger("info"),
  warn: logger("warn"),
  error: logger("error"),
};

// A namespace object: its prototype is an empty object.
const console = Object.create({});

Object.assign(console, {
  assert(condition = false, ...values) {
    if (condition) return;
    const [first, ...rest] = values;
    const text = typeof first === "string" ? [`Assertion failed: ${first}`, ...rest] : ["Assertion failed", ...values];
    write("error", formatted(text));
  },
  clear() {},
  count(label = "default") {
    const key = `${label}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
    write("info", `${key}: ${counts.get(key)}`);
  },
  countReset(label = "default") {
    const key = `${label}`;
    if (counts.has(key)) counts.set(key, 0);
    else write("warn", `Count for '${key}' does not exist`);
  },
  debug(...values) {
    log.debug(...values);
  },
  dir(item = undefined, options = undefined) {
    write("info", inspect(shown(item), { ...OPTIONS, customInspect: false, ...options }));
  },
  dirxml(...values) {
    log.info(...values);
  },
  error(...values) {
    log.error(...values);
  },
  group(...values) {
    if (values.length > 0) log.info(...values);
    indentation += "  ";
  },
  groupCollapsed(...values) {
    console.group(...values);
  },
  groupEnd() {
    indentation = indentation.slice(2);
  },
  info(...values) {
    log.info(...values);
  },
  log(...values) {
    log.info(...values);
  },
  table(data = undefined, columns = undefined) {
    if (typeof data !== "object" || data === null) log.info(...(data === undefined ? [] : [data]));
    else write("info", table(data, columns));
  },
  time(label = "default") {
    const key = `${label}`;
    if (clocks.has(key)) write("warn", `Timer '${key}' already exists`);
    else clocks.set(key, host.now());
  },
  timeEnd(label = "default") {
    const key = `${label}`;
    elapsed(key, []);
    clocks.delete(key);
  },
  timeLog(label = "default", ...values) {
    elapsed(`${label}`, values);
  },
  trace(...values) {
    const stack = new Error().stack?.split("\n").filter((line) => line.trim().startsWith("at ")) ?? [];
    write("debug", [`Trace: ${formatted(values)}`.trimEnd(), ...stack.slice(1)].join("\n"));
  },
  warn(...values) {
    log.warn(...values);
  },
});

function elapsed(key, values) {
  const since = clocks.get(key);
  if (since === undefined) write("warn", `Timer '${key}' does not exist`);
  else write("info", formatted([`${key}: ${host.now() - since} ms`, ...values]));
}

function table(data, columns) {
  const entries = data instanceof Map ? [...data] : data instanceof Set ? [...data].entries() : Object.entries(data);
  const rows = [];
  const names = columns === undefined ? [] : [...columns].map(String);
  let values = false;
  for (const [index, item] of entries) {
    const cells = new Map();
    if (typeof item === "object" && item !== null) {
      for (const [name, value] of Object.entries(item)) {
        if (columns === undefined && !names.includes(name)) names.push(name);
        cells.set(name, cell(value));
      }
    } else {
      values = true;
    }
    rows.push([`${index}`, cells, typeof item === "object" && item !== null ? "" : cell(item)]);
  }
  const head = ["(index)", ...names, ...(values ? ["Values"] : [])];
  const lines = rows.map(([index, cells, value]) => [
    index,
    ...names.map((name) => cells.get(name) ?? ""),
    ...(values ? [value] : []),
  ]);
  const widths = head.map((title, at) => Math.max(...[title, ...lines.map((line) => line[at])].map((text) => text.length)));
  const row = (texts) => `│ ${texts.map((text, at) => text.padEnd(widths[at])).join(" │ ")} │`;
  const rule = (left, middle, right) => left + widths.map((width) => "─".repeat(width + 2)).join(middle) + right;
  return [rule("┌", "┬", "┐"), row(head), rule("├", "┼", "┤"), ...lines.map(row), rule("└", "┴", "┘")].join("\n");
}

function cell(value) {
  return inspect(value, { ...OPTIONS, depth: 0, breakLength: Infinity, maxArrayLength: 3 });
}

Object.defineProperty(console, Symbol.toStringTag, { value: "console", configurable: true });
Object.defineProperty(globalThis, "console", { value: console, writable: true, enumerable: false, configurable: true });

// As its platforms do, so that console.log(error) shows its name, message and code.
Object.defineProperty(DOMException.prototype, inspectCustom, {
  value() {
    return `DOMException [${this.name}]: ${this.message}${this.stack ? `\n${`${this.stack}`.replace(/^.*Error.*\n/, "").trimEnd()}` : ""}`;
  },
  configurable: true,
});
