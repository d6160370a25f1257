// `node-inspect-extracted` copies every namespace object of the language when it is loaded; an engine without threads
// has no Atomics.

const missing = globalThis.Atomics === undefined;
if (missing) globalThis.Atomics = {};
const { formatWithOptions, inspect } = require("node-inspect-extracted");
if (missing) delete globalThis.Atomics;

export { formatWithOptions, inspect };
