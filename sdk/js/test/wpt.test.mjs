// The web-platform tests that apply, in tests/wpt; or in a whole checkout, where DEPUTY_WPT names one. In the fake sandbox,
// or in the real one where DEPUTY_BIN names a built `deputy`.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { reason } from "./wpt/expected.mjs";

/** Of those in tests/wpt. More is progress: raise it. */
const AT_LEAST = 14_000;

test("the web-platform tests that apply pass, but for those with a reason", { timeout: 600_000 }, (context) => {
  const checkout = process.env.DEPUTY_WPT;
  const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
  const program = [path("./wpt/run.mjs"), checkout ?? path("../../../tests/wpt"), "--json"];
  if (process.env.DEPUTY_BIN) program.push(`--deputy=${process.env.DEPUTY_BIN}`);
  const flags = ["--no-warnings", "--experimental-vm-modules", ...program];
  const outcome = JSON.parse(execFileSync(process.execPath, flags, { encoding: "utf8", maxBuffer: 64 << 20 }));
  let passed = 0;
  let expected = 0;
  const surprises = [];
  for (const [file, result] of Object.entries(outcome)) {
    passed += result.passed;
    for (const [name, message] of result.failed) {
      if (reason(file, name) === undefined) surprises.push(`${file}: ${name}: ${message}`.slice(0, 300));
      else expected += 1;
    }
  }
  context.diagnostic(`web-platform tests: ${passed} passed, ${expected} failed as expected, ${Object.keys(outcome).length} files`);
  assert.deepEqual(surprises, []);
  if (checkout === undefined) assert.ok(passed >= AT_LEAST, `only ${passed} passed`);
});
