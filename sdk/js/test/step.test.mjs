// Both ways to write a step, and what a script is told that is wrong.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Refusal, Sandbox } from "./host.mjs";

const slack = {
  base: "http://127.0.0.1:1",
  facts: {
    app: "slack",
    name: "slack/work",
    identity: "ada@example.com",
    scopes: ["chat:write"],
    inputs: { team: "T1" },
    markers: { oauth_access_token: "xoxb-marker" },
  },
};

async function fails(source, kind, pattern, input) {
  const error = await new Sandbox({ accounts: { slack } }).run(source, input).then(
    () => assert.fail("it ran"),
    (error) => error,
  );
  assert.equal(error.kind, kind, `${error}`);
  assert.match(error.message, pattern);
}

const shape = (source, pattern) => fails(source, "shape", pattern);

test("a component sees its props, its account and what earlier steps left", async () => {
  const source = `export default defineComponent({
    name: "Post", description: "…", version: "0.0.1", key: "slack-post", type: "action",
    props: {
      slack: { type: "app", app: "slack" },
      channel: { type: "string", label: "Channel" },
      count: { type: "integer", optional: true },
    },
    methods: { shout(text) { return text.toUpperCase() + this.channel; } },
    async run({ steps, $ }) {
      $.export("$summary", "posted");
      $.export("list", [1, { a: 2 }]);
      return {
        auth: { ...this.slack.$auth }, name: this.slack.$name, identity: this.slack.$identity,
        channel: this.channel, count: this.count ?? null, shout: this.shout("hi "),
        a: steps.a.$return_value.id + steps.a.output.id + steps.a.extra, event: steps.trigger.event,
      };
    },
  })`;
  const steps = { a: { output: { id: 1 }, exports: { extra: 5 } } };
  const sandbox = new Sandbox({ accounts: { slack } });
  const ran = await sandbox.run(source, { props: { channel: "general" }, steps, trigger: { n: 7 } });
  assert.deepEqual(ran.value, {
    auth: { team: "T1", oauth_access_token: "xoxb-marker" },
    name: "slack/work",
    identity: "ada@example.com",
    channel: "general",
    count: null,
    shout: "HI general",
    a: 7,
    event: { n: 7 },
  });
  assert.deepEqual(ran.exports, { $summary: "posted", list: [1, { a: 2 }] });
  assert.equal(ran.exit, null);
  assert.equal(ran.respond, null);
});

test("defineComponent is imported or left out", async () => {
  const imported = `import { defineComponent } from "@deputy/step"; export default defineComponent({ run() { return 1; } })`;
  assert.equal((await new Sandbox().run(imported)).value, 1);
  assert.equal((await new Sandbox().run("export default { async run() { return 2; } }")).value, 2);
});

test("a native step has input, accounts, steps, trigger and log", async () => {
  const source = `
    export const props = { slack: { type: "app", app: "slack" }, channel: { type: "string" } };
    export default async function (input, { accounts, steps, trigger, log }) {
      log.warn("to %s", input.channel, { a: 1 });
      const { name, identity, scopes, inputs, markers, app } = accounts.slack;
      return { input, name, identity, scopes, inputs, markers, app, keys: Object.keys(steps), trigger };
    }`;
  const sandbox = new Sandbox({ accounts: { slack } });
  const { value } = await sandbox.run(source, { props: { channel: "general" }, trigger: 3 });
  assert.deepEqual(value, {
    input: { channel: "general" },
    name: "slack/work",
    identity: "ada@example.com",
    scopes: ["chat:write"],
    inputs: { team: "T1" },
    markers: { oauth_access_token: "xoxb-marker" },
    app: "slack",
    keys: ["trigger"],
    trigger: 3,
  });
  assert.deepEqual(sandbox.logs, [["warn", "to general { a: 1 }"]]);
});

test("an account that is not declared is an error that says so", async () => {
  const source = `export default (input, { accounts }) => accounts.github.fetch("/")`;
  await fails(source, undefined, /no account is bound to `github` \(there are: none\)/);
});

test("an optional account may be missing, another may not", async () => {
  const source = (optional) => `export const props = { github: { type: "app", app: "github", optional: ${optional} } };
    export default (input, { accounts }) => "github" in accounts`;
  assert.equal((await new Sandbox().run(source(true))).value, false);
  await fails(source(false), undefined, /no account is bound to `github`/);
  const refusal = new Refusal("needs-reconnect", "reconnect it");
  const broken = new Sandbox({ accounts: { github: refusal } }).run(source(true));
  await assert.rejects(broken, /reconnect it/);
});

test("$.flow.exit stops at once, whatever is caught, and lets nothing leave", async () => {
  const source = `export default { async run({ $ }) {
    try { $.flow.exit("no rows"); } catch { }
    await fetch("http://127.0.0.1:1/");
    console.log("not here");
    return 1;
  } }`;
  const sandbox = new Sandbox();
  const ran = await sandbox.run(source);
  assert.deepEqual([ran.exit, ran.value], ["no rows", null]);
  assert.deepEqual([sandbox.requests, sandbox.logs], [[], []]);
  const later = `export default { run({ $ }) { return new Promise(() => setTimeout(() => { try { $.flow.exit("x"); } catch {} }, 1)); } }`;
  assert.equal((await new Sandbox().run(later)).exit, "x");
});

test("$.respond gives status, headers and body once", async () => {
  const source = (answer) => `export default { run({ $ }) { $.respond(${answer}); return 1; } }`;
  const { respond } = await new Sandbox().run(source(`{ status: 201, headers: { "X-A": 1 }, body: { ok: true } }`));
  assert.deepEqual(respond, { status: 201, headers: { "x-a": "1" }, body: { ok: true } });
  await fails(source("{ status: 99 }"), undefined, /99 is no status/);
  await fails(source("{ stauts: 200 }"), undefined, /not `stauts`/);
  await fails(`export default { run({ $ }) { $.respond({}); $.respond({}); } }`, undefined, /once/);
});

test("what is not offered says what to do instead", async () => {
  await fails("export default { run({ $ }) { $.send.email({}); } }", "shape", /\$\.send\.email.*fetch/);
  await fails("export default { run({ $ }) { $.flow.suspend(); } }", "shape", /\$\.flow\.suspend/);
});

test("an output that is no JSON names the place", async () => {
  const output = (value, pattern) => fails(`export default () => (${value})`, "output", pattern);
  await output("{ a: [1, { b: 10n }] }", /^the output\.a\[1\]\.b is a BigInt/);
  await output("{ 'a b': () => 1 }", /^the output\["a b"\] is a function/);
  await output("[Symbol()]", /\[0\] is a symbol/);
  await output("(() => { const a = { x: 1 }; a.self = { a }; return a; })()", /the output\.self\.a is a circle.*the output again/);
  await output("{ list: [Promise.resolve(1)] }", /list\[0\] is a promise: await it/);
  await output("new Response('x')", /^the output is a Response.*json\(\)/);
  await output("new Map()", /Object\.fromEntries/);
  await output("{ e: new Error('x') }", /e is an Error/);
  await output("new Uint8Array(1)", /is bytes/);
  await fails(`export default { run({ $ }) { $.export("x", { y: 1n }); } }`, "output", /the export `x`\.y is a BigInt/);
  const twice = `export default () => { const a = { x: 1 }; return { a, b: a, when: new Date(0), nothing: undefined }; }`;
  assert.deepEqual((await new Sandbox().run(twice)).value, { a: { x: 1 }, b: { x: 1 }, when: "1970-01-01T00:00:00.000Z" });
  assert.equal((await new Sandbox().run("export default () => {}")).value, null);
});

test("props become what the host knows", async () => {
  const source = `export default { props: {
    slack: { type: "app", app: "slack", scopes: ["chat:write"], methods: ["POST"], paths: ["/api"], requests: 5, bytes: 100 },
    channel: { type: "string", label: "Channel", description: "Where to", default: "general", options: ["general", { label: "Random", value: "random" }] },
    tags: { type: "string[]", optional: true },
    rows: { type: "object[]" },
    token: { type: "string", secret: true },
    any: "any",
  }, run() {} }`;
  const none = { label: null, help: null, optional: false, default: null, options: [], secret: false };
  const app = { app: "slack", scopes: ["chat:write"], methods: ["POST"], paths: ["/api"], requests: 5, bytes: 100, ambient: false };
  assert.deepEqual(await new Sandbox().props(source), [
    { ...none, name: "slack", kind: "app", app },
    {
      ...none,
      name: "channel",
      kind: "text",
      label: "Channel",
      help: "Where to",
      default: '"general"',
      options: [
        { label: "general", value: '"general"' },
        { label: "Random", value: '"random"' },
      ],
    },
    { ...none, name: "tags", kind: "list-of", of: "text", optional: true },
    { ...none, name: "rows", kind: "list-of", of: "object" },
    { ...none, name: "token", kind: "text", secret: true },
    { ...none, name: "any", kind: "json" },
  ]);
  assert.deepEqual(await new Sandbox().props("export default () => {}"), []);
});

test("a shape that is none is refused by name", async () => {
  await shape("export const a = 1", /no default export/);
  await shape("export default 5", /neither a function nor a component/);
  await shape("export default class {}", /class/);
  await shape("export default { props: {} }", /no function `run`/);
  await shape("export default { run() {}, hooks: {} }", /`hooks`/);
  await shape("export default { run() {}, type: 'source' }", /only actions/);
  await shape("export default { run() {}, colour: 1 }", /`colour`, which means nothing/);
  await shape("export const props = []; export default () => {}", /`props` is no object/);
  await shape("export default { props: { a: {} }, methods: { a() {} }, run() {} }", /both a prop and a method/);
  const prop = async (text, pattern) => {
    const source = `export const props = { it: ${text} }; export default () => {}`;
    await assert.rejects(new Sandbox().props(source), (error) => error.kind === "shape" && pattern.test(error.message));
  };
  await prop('"$.service.db"', /prop `it`: `\$\.service\.db` is not there: steps keep nothing/);
  await prop('{ type: "$.interface.timer" }', /schedule/);
  await prop("{ propDefinition: [{}, 'x'] }", /`propDefinition`/);
  await prop('{ type: "string", options() { return []; } }', /`options` is a function/);
  await prop('{ type: "string", min: 1 }', /`min` means nothing here/);
  await prop('{ type: "strng" }', /no type `strng`/);
  await prop('{ type: "app" }', /names no app/);
  await prop('{ type: "app", app: "slack", methods: { a() {} } }', /HTTP methods/);
  await prop('{ type: "app", app: "slack", ambient: true }', /`ambient` is for components/);
  await prop('{ type: "string", optional: "yes" }', /`optional` is no boolean/);
  await prop('{ type: "integer", default: 1n }', /`default` is no JSON/);
});

test("a synchronous throw and a rejection reach the host as they are", async () => {
  await fails("export default () => { throw new RangeError('far'); }", undefined, /far/);
  await fails("export default { run() { throw new RangeError('far'); } }", undefined, /far/);
});
