// Compiled, never run: `tsc --strict` must take what is right and refuse what is wrong.

import { defineComponent, type Context, type Input, type NativeStep, type Props } from "@deputy/step";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>) => {};

export const familiar = defineComponent({
  name: "Post",
  version: "0.0.1",
  props: {
    slack: { type: "app", app: "slack", scopes: ["chat:write"] },
    backup: { type: "app", app: "slack", optional: true },
    channel: { type: "string", label: "Channel" },
    size: { type: "string", options: ["small", { label: "Large", value: "large" }] },
    count: { type: "integer", optional: true },
    limit: { type: "integer", optional: true, default: 5 },
    tags: { type: "string[]" },
    anything: "any",
  },
  methods: {
    shout(text: string): string {
      return text.toUpperCase() + this.channel;
    },
  },
  async run({ steps, $ }) {
    same<string, typeof this.channel>(true);
    same<"small" | "large", typeof this.size>(true);
    same<number | undefined, typeof this.count>(true);
    same<number, typeof this.limit>(true);
    same<string[], typeof this.tags>(true);
    const token: string | undefined = this.slack.$auth.oauth_access_token;
    const answer = await this.slack.fetch("/chat.postMessage", { method: "POST", body: JSON.stringify({}), identity: "bot" });
    const { ok } = await answer.json();
    // @ts-expect-error an optional account may be missing
    this.backup.fetch("/");
    await this.backup?.fetch("/");
    // @ts-expect-error there is no such prop
    this.chanel;
    // @ts-expect-error a method's argument has its type
    this.shout(5);
    $.export("said", this.shout("hi"));
    $.respond({ status: 200, body: { ok } });
    // @ts-expect-error an answer has no such field
    $.respond({ stauts: 200 });
    if (steps.trigger.event === null) $.flow.exit("nothing");
    return { token, last: steps.before.$return_value };
  },
});

// @ts-expect-error a component runs
defineComponent({ props: {} });
// @ts-expect-error there is no such type
defineComponent({ props: { a: { type: "strng" } }, run() {} });
// @ts-expect-error an app has a slug
defineComponent({ props: { a: { type: "app" } }, run() {} });

export const props = {
  github: { type: "app", app: "github" },
  title: { type: "string" },
  labels: { type: "string[]", optional: true },
} as const satisfies Props;

export default async function (input: Input<typeof props>, { accounts, log, trigger }: Context<typeof props>) {
  same<string, typeof input.title>(true);
  same<string[] | undefined, typeof input.labels>(true);
  // @ts-expect-error an account is no field of the input
  input.github;
  // @ts-expect-error no such account
  accounts.gitlab;
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 1_000);
  const answer = await accounts.github.fetch(new URL("https://api.github.com/user"), { signal: AbortSignal.any([controller.signal, AbortSignal.timeout(5)]) });
  log.info(answer.status, accounts.github.name, accounts.github.scopes.join(), trigger);
  const form = new FormData();
  form.append("file", new Blob(["x"], { type: "text/plain" }), "x.txt");
  const more = await fetch("https://example.com/", { method: "POST", body: form, redirect: "manual" });
  for await (const piece of more.body!) console.log(piece.byteLength);
  const key = await crypto.subtle.importKey("raw", new TextEncoder().encode("k"), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  await crypto.subtle.sign("HMAC", key, new Uint8Array(1));
  return structuredClone({ id: crypto.randomUUID(), at: performance.now(), text: atob(btoa("x")), url: new URLSearchParams({ a: "b" }).toString() });
}

export const arrow: NativeStep<typeof props> = ({ title }, { accounts }) => accounts.github.fetch(`/${title}`);
