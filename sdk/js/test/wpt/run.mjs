// Runs the web-platform tests that apply, each in a sandbox of its own: `node run.mjs CHECKOUT [FILTER]`; in the fake
// sandbox, or in the real one with `--deputy=PATH` of a built `deputy`.
// Prints what fails and the counts, or everything with `--json`.

import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Sandbox } from "../host.mjs";
import { serve } from "./server.mjs";
import { files, scripts, variants } from "./suite.mjs";

const LIMIT_MS = 20_000;

/** As `runFile`, by `deputy step run`: the scripts of the test become one step. */
async function runFileInDeputy(deputy, root, file, base, folder) {
  // In one piece: what a script evaluates keeps its constants to itself.
  const whole = scripts(root, file, base).map(([, source]) => source).join("\n;\n");
  const step = `export default async function () {
      (0, eval)(${JSON.stringify(whole)});
      if (typeof done === "function") done();
      return self.__results;
    }`;
  const path = join(folder, "test.js");
  writeFileSync(path, step);
  const flags = ["step", "run", path, "--json", "--timeout", "40s", "--config", folder, "--data", join(folder, "data")];
  const answer = await new Promise((resolve) => {
    execFile(deputy, flags, { maxBuffer: 64 << 20 }, (_error, stdout, stderr) => resolve([stdout, stderr]));
  });
  try {
    const { output, error } = JSON.parse(answer[0]);
    if (error) return { status: 1, message: error.message, tests: [] };
    return JSON.parse(output);
  } catch {
    return { status: 1, message: answer.join(" "), tests: [] };
  }
}

/** What one file gives: `{ status, message, tests: [{ name, status, message }] }`; status 0 is a pass. */
async function runFile(root, file, base) {
  const sandbox = new Sandbox();
  const late = new Promise((resolve) => {
    setTimeout(() => resolve({ status: 2, message: "timed out", tests: [] }), LIMIT_MS).unref();
  });
  try {
    for (const [name, source] of scripts(root, file, base)) sandbox.evaluate(source, name);
  } catch (error) {
    return { status: 1, message: `${error?.message ?? error}`, tests: [] };
  }
  sandbox.evaluate("typeof done === 'function' && done()");
  const results = sandbox.evaluate("self.__results");
  // A text: some tests bend the prototype of objects.
  return results === undefined ? { status: 1, message: "no results", tests: [] } : Promise.race([results.then(JSON.parse), late]);
}

/** All files: `{ [file]: { passed, failed: [[name, message]] } }`. */
async function runAll(root, filter = "", deputy = undefined) {
  const server = await serve(root);
  const folder = mkdtempSync(join(tmpdir(), "deputy-wpt-"));
  chmodSync(folder, 0o700);
  const address = `127.0.0.1:${server.port}`;
  writeFileSync(join(folder, "deputy.toml"), `[egress]\nallow = ["${address}"]\nplain = ["${address}"]\n`);
  // A test may leave rejections behind on purpose.
  const ignore = () => {};
  process.on("unhandledRejection", ignore);
  const outcome = {};
  for (const file of files(root)) {
    if (!file.includes(filter)) continue;
    for (const variant of variants(root, file)) {
      const base = `http://127.0.0.1:${server.port}/${file}${variant}`;
      const result = await (deputy ? runFileInDeputy(deputy, root, file, base, folder) : runFile(root, file, base));
      const failed = result.tests.filter((test) => test.status !== 0).map((test) => [test.name, `${test.message}`]);
      if (result.status !== 0) failed.push(["(the file)", `${result.message}`]);
      outcome[file + variant] = { passed: result.tests.filter((test) => test.status === 0).length, failed };
    }
  }
  server.close();
  rmSync(folder, { recursive: true });
  process.off("unhandledRejection", ignore);
  return outcome;
}

const [root, filter] = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
const deputy = process.argv.find((argument) => argument.startsWith("--deputy="))?.slice("--deputy=".length);
const outcome = await runAll(root, filter, deputy);
if (process.argv.includes("--json")) {
  process.stdout.write(JSON.stringify(outcome), () => process.exit(0));
} else {
  const all = Object.values(outcome);
  for (const [file, { passed, failed }] of Object.entries(outcome)) {
    if (failed.length > 0) console.log(`${file}: ${passed} passed, ${failed.length} failed`);
    for (const [name, message] of failed) console.log(`    ${name}: ${message}`.slice(0, 240).replaceAll("\n", " "));
  }
  const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
  console.log(`${all.length} files, ${sum(all.map(({ passed }) => passed))} passed, ${sum(all.map(({ failed }) => failed.length))} failed`);
  process.exit(0);
}
