// Bundles a step and what it imports into one ES module, as the sandbox wants it.
//
//   node deputy-step/bundle.mjs src/step.ts dist/step.js
//
// Packages made for Node find stand-ins for its built-in modules: those that need no operating system work (unenv and
// @jspm/core), the others throw when they are used, by name.

import { builtinModules, createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

// From the folder that is built: esbuild and unenv are its dependencies, not ours.
const require = createRequire(join(process.cwd(), "package.json"));
const esbuild = require("esbuild");
const { env, nodeless } = require("unenv");
const here = dirname(fileURLToPath(import.meta.url));

const { alias } = env(nodeless, {});
/** Those that unenv only pretends to have, and that need nothing of the operating system. */
const JSPM = ["assert", "constants", "domain", "punycode", "querystring", "sys", "timers", "tty"];

/** The stand-in for a built-in module; null where there is none. */
function standIn(name) {
  const bare = name.replace(/^node:/, "");
  if (JSPM.includes(bare)) return `@jspm/core/nodelibs/${bare}`;
  if (bare === "path/posix") return alias["node:path"];
  if (bare === "assert/strict") return "@jspm/core/nodelibs/assert";
  const target = alias[`node:${bare}`];
  return target && !target.includes("/mock/") ? target : null;
}

/** A module whose parts can be named and extended, and that throws when one is called. */
const missing = (name) => `
const part = (path) => new Proxy(function () {}, {
  get(target, key) {
    if (key === "prototype") return target.prototype;
    if (typeof key === "symbol" || key === "then" || key === "__esModule") return undefined;
    return part(path + "." + key);
  },
  apply() { throw new Error(path + " is not there in a step: a step has no operating system"); },
  construct() { throw new Error(path + " is not there in a step: a step has no operating system"); },
});
module.exports = part(${JSON.stringify(name)});
`;

const standIns = {
  name: "node-stand-ins",
  setup(build) {
    const builtin = new Set(builtinModules.flatMap((name) => [name, `node:${name}`]));
    build.onResolve({ filter: /.*/ }, (args) => {
      if (args.pluginData === standIns) return undefined;
      if (builtin.has(args.path)) {
        const target = standIn(args.path);
        if (target === null) return { path: args.path.replace(/^(node:)?/, "node:"), namespace: "missing" };
        return build.resolve(target, { kind: "import-statement", resolveDir: process.cwd(), pluginData: standIns });
      }
      // Packages that unenv replaces, such as `inherits`.
      const target = alias[args.path];
      if (!target || target === args.path || target.includes("/mock/")) return undefined;
      return build.resolve(target, { kind: "import-statement", resolveDir: process.cwd(), pluginData: standIns });
    });
    build.onLoad({ filter: /.*/, namespace: "missing" }, (args) => ({ contents: missing(args.path), loader: "js" }));
  },
};

export async function bundle(entry, outfile) {
  return esbuild.build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2023",
    conditions: ["worker", "browser", "module"],
    mainFields: ["browser", "module", "main"],
    // The sandbox has this module itself.
    external: ["@deputy/step"],
    inject: [join(here, "node-globals.mjs")],
    define: { global: "globalThis", "process.env.NODE_ENV": '"production"' },
    minifySyntax: true,
    legalComments: "none",
    logLevel: "info",
    plugins: [standIns],
  });
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [entry, outfile] = process.argv.slice(2);
  if (!entry || !outfile) {
    console.error("usage: node bundle.mjs ENTRY OUTFILE");
    process.exit(2);
  }
  await bundle(entry, outfile).catch(() => process.exit(1));
}
