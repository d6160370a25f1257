// What a script exports, and what it may say: a component in the familiar form, or a native step.

/** Says what a component is, for editors and types; it changes nothing. */
export function defineComponent(component) {
  return component;
}

/** The script's shape is wrong. */
export class ShapeError extends Error {
  kind = "shape";
  name = "ShapeError";
}

const FIELDS = ["name", "description", "version", "key", "type", "props", "run", "methods", "annotations"];
const ELSEWHERE = {
  hooks: "Deputy runs steps, not sources: put the work into `run`, and let a workflow's trigger start it",
  dedupe: "Deputy runs steps, not sources: give the workflow's trigger an idempotency key",
  additionalProps: "props are known before a step runs: declare them all in `props`, as optional where they may miss",
  sampleEmit: "Deputy runs steps, not sources: leave it out",
};

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** The step in a module: `{ native, run, props, methods }`. */
export function stepOf(namespace) {
  const step = namespace.default;
  if (typeof step === "function") {
    if (/^class\b/.test(Function.prototype.toString.call(step))) {
      throw new ShapeError("the default export is a class: export a function or a component");
    }
    const { props } = namespace;
    if (props !== undefined && !isObject(props)) {
      throw new ShapeError("the export `props` is no object: `export const props = { channel: { type: \"string\" } }`");
    }
    return { native: true, run: step, props: props ?? {}, methods: {} };
  }
  if (step === undefined) {
    throw new ShapeError(
      "the script has no default export: `export default async function (input, { accounts }) {…}`, or " +
        "`export default defineComponent({ props: {…}, async run({ steps, $ }) {…} })`",
    );
  }
  if (!isObject(step)) throw new ShapeError("the default export is neither a function nor a component");
  return component(step);
}

function component(step) {
  for (const field of Object.keys(step)) {
    if (field in ELSEWHERE) throw new ShapeError(`the component has \`${field}\`: ${ELSEWHERE[field]}`);
    if (!FIELDS.includes(field)) {
      throw new ShapeError(`the component has a field \`${field}\`, which means nothing here; it may have ${FIELDS.join(", ")}`);
    }
  }
  if (step.type !== undefined && step.type !== "action") {
    throw new ShapeError(`the component's type is \`${step.type}\`: only actions can run as steps`);
  }
  if (typeof step.run !== "function") throw new ShapeError("the component has no function `run`");
  const { props = {}, methods = {} } = step;
  if (!isObject(props)) throw new ShapeError("the component's `props` is no object");
  if (!isObject(methods)) throw new ShapeError("the component's `methods` is no object");
  for (const [name, method] of Object.entries(methods)) {
    if (typeof method !== "function") throw new ShapeError(`the method \`${name}\` is no function`);
    if (name in props) throw new ShapeError(`\`${name}\` is both a prop and a method: rename one`);
  }
  return { native: false, run: step.run, props, methods };
}
