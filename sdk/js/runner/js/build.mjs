// Bundles the environment into one file: `npm run bundle -- --outfile=…`. Tests take the text instead.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import path from "node:path";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);

/** Parts of libraries that the host does better, or that are not needed before the first script that asks. */
const replacements = {
  name: "replacements",
  setup({ onResolve, onLoad }) {
    // UTF-8 by the host.
    onResolve({ filter: /fallback\/utf8\.auto\.js$/ }, () => ({ path: path.join(here, "globals/utf8.js") }));
    // A snapshot has no random numbers; names that are unique in one bundle need none.
    onLoad({ filter: /core-js\/internals\/uid\.js$/ }, () => ({
      contents: 'let id = 0; module.exports = (key) => { id += 1; return `Symbol(${key ?? ""})_${id}`; };',
      loader: "js",
    }));
    // Tables of international names: made at the first use.
    onResolve({ filter: /^tr46$/ }, () => ({ path: path.join(here, "globals/tr46.js") }));
    onResolve({ filter: /^tr46-real$/ }, () => ({ path: require.resolve("tr46") }));
    // As one text, which costs a snapshot less than the thousands of arrays in it.
    onLoad({ filter: /mappingTable\.json$/ }, async ({ path: file }) => {
      const text = JSON.stringify(JSON.parse(await readFile(file, "utf8")));
      return { contents: `module.exports = JSON.parse(${JSON.stringify(text)});`, loader: "js" };
    });
  },
};

/** The text of the bundle. */
export async function bundle() {
  const { outputFiles } = await build({
    absWorkingDir: here,
    entryPoints: ["environment.js"],
    bundle: true,
    format: "iife",
    target: "es2023",
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    logLevel: "warning",
    // Neither a browser nor Node.
    platform: "neutral",
    mainFields: ["module", "main"],
    plugins: [replacements],
    write: false,
  });
  return outputFiles[0].text;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const given = process.argv.slice(2).find((argument) => argument.startsWith("--outfile="));
  if (given === undefined) throw new Error("say where it goes: --outfile=FILE");
  const file = given.slice("--outfile=".length);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, await bundle());
}
