// Runs a step in Node, with stand-ins for its accounts: for a step's own tests. The sandbox is stricter; `deputy step
// run` has the last word.

/**
 * @param {any} step what the step's module exports: a component, or the function of a native step
 * @param {{ accounts?: Record<string, any>, props?: Record<string, any>, steps?: Record<string, any>, trigger?: any,
 *           declares?: Record<string, any> }} given
 */
export async function run(step, { accounts = {}, props = {}, steps = {}, trigger = null, declares } = {}) {
  const exports = {};
  let respond = null;
  if (typeof step === "function") {
    const value = await step(withDefaults(declares ?? {}, props), { accounts, steps, trigger, log: console });
    return { value: value ?? null, exports, exit: null, respond };
  }
  const self = { ...step.methods, ...withDefaults(step.props ?? {}, props) };
  for (const [name, prop] of Object.entries(step.props ?? {})) {
    if (prop.type !== "app") continue;
    const account = accounts[name];
    if (!account && !prop.optional) throw new Error(`the test gives no account for prop \`${name}\``);
    if (account) self[name] = { $auth: {}, $name: account.name, $identity: account.identity, ...account };
  }
  const $ = {
    export: (name, value) => void (exports[name] = value),
    respond: (answer) => void (respond = answer),
    flow: {
      exit: (reason = "") => {
        throw new Exit(reason);
      },
    },
  };
  try {
    const value = await step.run.call(self, { steps: { ...steps, trigger: { event: trigger } }, $ });
    return { value: value ?? null, exports, exit: null, respond };
  } catch (error) {
    if (!(error instanceof Exit)) throw error;
    return { value: null, exports, exit: error.reason, respond };
  }
}

class Exit extends Error {
  constructor(reason) {
    super("the step ended its workflow");
    this.reason = reason;
  }
}

function withDefaults(declared, given) {
  const values = { ...given };
  for (const [name, prop] of Object.entries(declared)) {
    if (prop && typeof prop === "object" && prop.type !== "app" && !(name in values) && "default" in prop) {
      values[name] = prop.default;
    }
  }
  return values;
}
