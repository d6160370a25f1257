// How Web IDL makes classes, members and conversions look: what libraries look for is there, and nothing else is seen.

/** Defines a global as platforms do: not enumerable. */
export function expose(name, value) {
  if (typeof value === "function") called(value, name);
  Object.defineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true });
}

/** Members of an interface are enumerable, and its objects say what they are. */
export function decorate(Class, name) {
  enumerable(Class.prototype);
  enumerable(Class, ["length", "name", "prototype"]);
  Object.defineProperty(Class.prototype, Symbol.toStringTag, { value: name, configurable: true });
  called(Class, name);
  return Class;
}

/** The bundler renames what is called like a global. */
function called(value, name) {
  if (value.name !== name) Object.defineProperty(value, "name", { value: name, configurable: true });
}

function enumerable(object, but = ["constructor"]) {
  for (const key of Object.getOwnPropertyNames(object)) {
    if (!but.includes(key)) Object.defineProperty(object, key, { enumerable: true });
  }
}

/** Constants stand on the class and on its objects. */
export function constants(Class, values) {
  for (const [name, value] of Object.entries(values)) {
    const constant = { value, enumerable: true };
    Object.defineProperty(Class, name, constant);
    Object.defineProperty(Class.prototype, name, constant);
  }
}

/** A text without lone surrogates. */
export function usvString(value) {
  return `${value}`.toWellFormed();
}

/** A text of bytes: what stands in a header. */
export function byteString(value, what) {
  const text = `${value}`;
  for (let at = 0; at < text.length; at += 1) {
    if (text.charCodeAt(at) > 255) {
      throw new TypeError(`${what} holds a character beyond U+00FF at ${at}: headers are bytes`);
    }
  }
  return text;
}

/** The bytes of a BufferSource, not copied; undefined for anything else. */
export function bytesView(value) {
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (isArrayBuffer(value)) return new Uint8Array(value);
  return undefined;
}

const byteLength = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "byteLength").get;

export function isArrayBuffer(value) {
  if (typeof value !== "object" || value === null) return false;
  try {
    byteLength.call(value);
    return true;
  } catch {
    return false;
  }
}

/** A dictionary argument: nothing, or an object. */
export function dictionary(value, what) {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object" && typeof value !== "function") throw new TypeError(`${what} is not an object`);
  return value;
}

export function needs(count, given, what) {
  if (given < count) {
    throw new TypeError(`${what} needs ${count} argument${count === 1 ? "" : "s"}, but got ${given}`);
  }
}

/** One of a list of words. */
export function oneOf(value, words, what) {
  const text = `${value}`;
  if (!words.includes(text)) throw new TypeError(`${what} is "${text}", not one of ${words.join(", ")}`);
  return text;
}

const IteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));

/**
 * entries, keys, values, forEach and the default iterator over what `pairs(this)` gives, live: a change is seen by an
 * iteration that is on its way.
 */
export function iterable(Class, pairs) {
  const states = new WeakMap();
  const Iterator = {
    next() {
      const state = states.get(this);
      if (state === undefined) throw new TypeError(`next was called on something that is no ${Class.name} Iterator`);
      const list = pairs(state.target);
      if (state.at >= list.length) return { value: undefined, done: true };
      const [key, value] = list[state.at];
      state.at += 1;
      return { value: state.kind === "key" ? key : state.kind === "value" ? value : [key, value], done: false };
    },
  };
  Object.setPrototypeOf(Iterator, IteratorPrototype);
  Object.defineProperty(Iterator, "next", { enumerable: true });
  Object.defineProperty(Iterator, Symbol.toStringTag, { value: `${Class.name} Iterator`, configurable: true });
  const begin = (target, kind) => {
    pairs(target);
    const iterator = Object.create(Iterator);
    states.set(iterator, { target, kind, at: 0 });
    return iterator;
  };
  const members = {
    entries() {
      return begin(this, "both");
    },
    keys() {
      return begin(this, "key");
    },
    values() {
      return begin(this, "value");
    },
    forEach(callback, thisArgument) {
      pairs(this);
      if (typeof callback !== "function") throw new TypeError(`${Class.name}.forEach needs a function`);
      for (let at = 0; at < pairs(this).length; at += 1) {
        const [key, value] = pairs(this)[at];
        callback.call(thisArgument, value, key, this);
      }
    },
  };
  for (const [name, value] of Object.entries(members)) {
    Object.defineProperty(Class.prototype, name, { value, writable: true, enumerable: true, configurable: true });
  }
  const value = members.entries;
  Object.defineProperty(Class.prototype, Symbol.iterator, { value, writable: true, configurable: true });
}

/** How `console.log` shows an object. */
export const inspectCustom = Symbol.for("nodejs.util.inspect.custom");

export function inspectable(Class, fields) {
  const value = function (depth, options, inspect) {
    if (depth < 0) return `[${Class.name}]`;
    const inner = { ...options, depth: options.depth === null ? null : options.depth - 1 };
    return `${Class.name} ${inspect(fields(this), inner)}`;
  };
  Object.defineProperty(Class.prototype, inspectCustom, { value, configurable: true });
}
