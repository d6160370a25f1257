import assert from "node:assert/strict";
import test from "node:test";

import { run } from "@deputy/step/testing";

import step from "../src/step";

test("it lists the repositories that were changed last", async () => {
  const asked: string[] = [];
  const github = {
    name: "github/work",
    fetch: async (path: string) => {
      asked.push(path);
      return Response.json([{ full_name: "ada/engine" }]);
    },
  };
  const ran = await run(step, { accounts: { github }, props: { limit: 5 } });
  assert.deepEqual(ran.value, ["ada/engine"]);
  assert.deepEqual(ran.exports, { count: 1 });
  assert.deepEqual(asked, ["/user/repos?sort=updated&per_page=5"]);
});
