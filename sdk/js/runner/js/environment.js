// The least environment that runs a script: until the real one stands here.
{
  const host = globalThis.__host;
  const failure = (kind, message) => Object.assign(new Error(message), { kind });
  const json = (value) => {
    if (value === undefined) return "null";
    let text;
    try {
      text = JSON.stringify(value);
    } catch (error) {
      throw failure("output", `the output is no JSON: ${error.message}`);
    }
    if (text === undefined) throw failure("output", `the output is no JSON: it is a ${typeof value}`);
    return text;
  };
  globalThis.console = { log: (...values) => host.log("info", values.join(" ")) };
  globalThis.setTimeout = (callback, ms, ...values) => {
    const { id, promise } = host.timer(ms);
    promise.then(() => callback(...values));
    return id;
  };
  globalThis.clearTimeout = (id) => host.clearTimer(id);
  globalThis.crypto = { getRandomValues: (array) => (array.set(host.random(array.length)), array) };
  const send = async (prop, url) => {
    const answer = await host.start(prop, "GET", url, [], null, null, null).promise;
    const text = async () => {
      const pieces = [];
      for (;;) {
        const piece = await host.read(answer.body);
        if (piece === null) return pieces.join("");
        pieces.push(host.utf8Decode(piece, false));
      }
    };
    return { status: answer.status, text, json: async () => JSON.parse(await text()) };
  };
  globalThis.fetch = (url) => send(null, url);
  const kinds = { string: "text", "string[]": "list-of" };
  globalThis.__env = {
    exports: { defineComponent: (component) => component },
    props: (namespace) =>
      JSON.stringify(
        Object.entries(namespace.props ?? {}).map(([name, { type, app, optional }]) =>
          type === "app"
            ? { name, kind: "app", app: { app }, optional }
            : { name, kind: kinds[type] ?? type, of: "text", optional },
        ),
      ),
    run: async (namespace, input) => {
      if (typeof namespace.default !== "function") throw failure("shape", "the script exports no function as default");
      const accounts = {};
      for (const [name, { type }] of Object.entries(namespace.props ?? {})) {
        if (type === "app") accounts[name] = { ...host.account(name), fetch: (url) => send(name, url) };
      }
      const value = await namespace.default(JSON.parse(input).props, { accounts });
      return { value: json(value), exports: [], exit: null, respond: null };
    },
  };
}
