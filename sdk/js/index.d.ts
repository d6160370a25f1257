/** What a step may declare. */
type Label = { label?: string; description?: string; optional?: boolean };

/** An account of an app, and what the step needs of it: the host lets it do no more. */
export type AppProp = Label & {
  type: "app";
  /** The app's slug. */
  app: string;
  scopes?: readonly string[];
  methods?: readonly string[];
  /** Path prefixes. */
  paths?: readonly string[];
  requests?: number;
  bytes?: number;
};

type Values = {
  string: string;
  integer: number;
  number: number;
  boolean: boolean;
  object: Record<string, any>;
  any: any;
  "string[]": string[];
  "integer[]": number[];
  "number[]": number[];
  "boolean[]": boolean[];
  "object[]": Record<string, any>[];
};

export type ValueProp = Label & {
  type: keyof Values;
  default?: any;
  options?: readonly any[];
  /** Kept out of logs, outputs and run records. */
  secret?: boolean;
};

export type Prop = AppProp | ValueProp;
export type Props = Record<string, Prop>;

/** An account bound to a prop. */
export interface Account {
  /** `app/nickname` */
  readonly name: string;
  readonly app: string;
  readonly identity: string | null;
  readonly scopes: string[];
  /** What its owner gave at connect, such as the name of a shop. */
  readonly inputs: Record<string, string>;
  /** Stand-ins for its tokens, by name. */
  readonly markers: Record<string, string>;
  /** A request through the account: a path below the app's base, or a URL within its reach. */
  fetch(url: string | URL, init?: RequestInit & { identity?: string }): Promise<Response>;
}

/** The same, as `this.<prop>` of a component. */
export interface BoundApp {
  /** Stand-ins for its tokens, and what its owner gave at connect. */
  readonly $auth: Record<string, string>;
  readonly $name: string;
  readonly $identity: string | null;
  fetch(url: string | URL, init?: RequestInit & { identity?: string }): Promise<Response>;
}

type Of<P> = P extends AppProp ? BoundApp : P extends { type: infer T extends keyof Values } ? Values[T] : never;
type MayLack<P> = P extends { optional: true } ? (P extends { default: any } ? false : true) : false;
export type PropValues<P extends Props> = {
  [K in keyof P as MayLack<P[K]> extends true ? never : K]: Of<P[K]>;
} & { [K in keyof P as MayLack<P[K]> extends true ? K : never]?: Of<P[K]> };

export interface Dollar {
  /** Names a value for later steps: `steps.<this step>.<name>`. */
  export(name: string, value: unknown): void;
  /** Answers the workflow's HTTP trigger. */
  respond(answer: { status?: number; headers?: Record<string, string>; body?: unknown }): void;
  flow: {
    /** Ends the workflow here, well. */
    exit(reason?: string): never;
  };
}

export interface Component<P extends Props, M extends Record<string, (...given: any[]) => any>> {
  name?: string;
  description?: string;
  version?: string;
  key?: string;
  type?: "action";
  props?: P;
  methods?: M & ThisType<PropValues<P> & M>;
  run(this: PropValues<P> & M, context: { steps: Record<string, any>; $: Dollar }): unknown;
}

/** A step in the familiar form. */
export function defineComponent<
  const P extends Props,
  M extends Record<string, (...given: any[]) => any> = Record<never, never>,
>(component: Component<P, M>): Component<P, M>;

type Inputs<P extends Props> = {
  [K in keyof P as P[K] extends AppProp ? never : MayLack<P[K]> extends true ? never : K]: Of<P[K]>;
} & { [K in keyof P as P[K] extends AppProp ? never : MayLack<P[K]> extends true ? K : never]?: Of<P[K]> };
type Accounts<P extends Props> = { [K in keyof P as P[K] extends AppProp ? K : never]: Account };

/** A step in the native form: `export const props = … ; const run: NativeStep<typeof props> = async (input, …) => …` */
export type NativeStep<P extends Props> = (
  input: Inputs<P>,
  context: { accounts: Accounts<P>; steps: Record<string, any>; trigger: any; log: Console },
) => unknown;

declare global {
  const defineComponent: typeof import("./index.js").defineComponent;
}
