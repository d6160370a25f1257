// Bundles a step and what it imports into one ES module, as the sandbox wants it.
//
//   node deputy-step/bundle.mjs src/step.ts dist/step.js
//
// Packages made for Node find stand-ins for its built-in modules (unenv): those that need no operating system work, the
// others throw when they are used, by name.

import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

// From the folder that is built: esbuild and unenv are its dependencies, not ours.
const require = createRequire(join(process.cwd(), "package.json"));
const esbuild = require("esbuild");
const { env, nodeless } = require("unenv");
const here = dirname(fileURLToPath(import.meta.url));

const { alias } = env(nodeless, {});

const standIns = {
  name: "node-stand-ins",
  setup(build) {
    build.onResolve({ filter: /.*/ }, (args) => {
      const target = args.pluginData === standIns ? undefined : alias[args.path];
      if (!target || target === args.path) return undefined;
      const options = { kind: "import-statement", resolveDir: process.cwd(), pluginData: standIns };
      return build.resolve(target, options);
    });
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
