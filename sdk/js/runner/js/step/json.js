// What a step gives back must be JSON. Where JSON.stringify would drop or bend a value without a word, the place is
// named instead.

/** A value is no JSON. */
export class OutputError extends Error {
  kind = "output";
  name = "OutputError";
}

/** JSON text of a value; nothing is null. */
export function toJson(value, place) {
  if (value === undefined) return "null";
  try {
    return JSON.stringify(value, refuse) ?? "null";
  } catch (error) {
    throw located(value, place) ?? error;
  }
}

/** Why a value is no JSON, and what to do; undefined where it is. */
function fault(value) {
  switch (typeof value) {
    case "bigint":
      return "a BigInt: give it as a text with String(…)";
    case "function":
      return "a function";
    case "symbol":
      return "a symbol";
    case "object":
      break;
    default:
      return undefined;
  }
  if (value === null) return undefined;
  if (value instanceof Promise) return "a promise: await it";
  if (value instanceof Response) return "a Response: give what `await response.json()` gives";
  if (value instanceof Error) return "an Error: throw it, or give its message";
  if (value instanceof Map) return "a Map: give Object.fromEntries(map)";
  if (value instanceof Set) return "a Set: give [...set]";
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return "bytes: give a text, or a list of numbers";
  return undefined;
}

function refuse(_key, value) {
  if (fault(value) !== undefined) throw new OutputError("no JSON");
  return value;
}

/** The first place that cannot be JSON. */
function located(value, place) {
  const path = new Map();
  const look = (item, at) => {
    const plain = typeof item?.toJSON === "function" ? item.toJSON() : item;
    const wrong = fault(plain);
    if (wrong !== undefined) return new OutputError(`${at} is ${wrong}`);
    if (typeof plain !== "object" || plain === null) return undefined;
    if (path.has(plain)) return new OutputError(`${at} is a circle: it holds ${path.get(plain)} again`);
    path.set(plain, at);
    for (const [key, inner] of Object.entries(plain)) {
      const found = look(inner, Array.isArray(plain) ? `${at}[${key}]` : at + named(key));
      if (found !== undefined) return found;
    }
    path.delete(plain);
    return undefined;
  };
  return look(value, place);
}

function named(key) {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}
