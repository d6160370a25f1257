// The types take what is right and refuse what is wrong, with our own globals and with TypeScript's.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

for (const project of ["tsconfig.json", "tsconfig.dom.json"]) {
  test(`tsc --strict with ${project}`, { timeout: 120_000 }, () => {
    const tsc = path("../node_modules/typescript/bin/tsc");
    const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, "-p", path(project)], { encoding: "utf8" });
    assert.equal(status, 0, stdout + stderr);
  });
}
