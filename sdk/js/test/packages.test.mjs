// What is bundled is explained, under licences that are allowed, and pinned without naming a registry.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const read = (relative) => readFileSync(new URL(relative, import.meta.url), "utf8");
const ALLOWED = ["MIT", "ISC", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause"];

test("every package is explained in docs/dependencies.md", () => {
  const explained = read("../../../docs/dependencies.md");
  const names = new Set();
  for (const lock of ["../runner/js/package-lock.json", "../package-lock.json"]) {
    const text = read(lock);
    assert.ok(!text.includes('"resolved"'), `${lock} names registry hosts: keep the folder's .npmrc`);
    for (const [path, { license, integrity }] of Object.entries(JSON.parse(text).packages)) {
      if (path === "") continue;
      const name = path.replace(/^.*node_modules\//, "");
      assert.ok(integrity, `${name} has no hash`);
      assert.ok(ALLOWED.includes(license), `${name} is under ${license}`);
      // One for each platform.
      if (!name.startsWith("@esbuild/")) names.add(name);
    }
  }
  assert.ok(names.size > 8);
  assert.deepEqual([...names].filter((name) => !explained.includes(`\`${name}\``)), []);
});
