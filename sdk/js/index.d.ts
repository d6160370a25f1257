/**
 * Types of steps written in JavaScript or TypeScript. `Response` and its kin come from `@deputy/step/globals`, which
 * knows what the sandbox has, or from TypeScript's own library `dom`.
 */

/** An account that the person who runs the step binds. */
export interface AppProp {
  type: "app";
  /** The app's slug: `slack`. */
  app: string;
  label?: string;
  description?: string;
  /** The step may run without it. */
  optional?: boolean;
  /** Scopes that the account must have. */
  scopes?: readonly string[];
  /** HTTP methods that the step needs; none: all that the app allows. */
  methods?: readonly string[];
  /** Path prefixes that the step needs; none: all that the app allows. */
  paths?: readonly string[];
  /** Requests of one run. */
  requests?: number;
  /** Bytes of request bodies of one run. */
  bytes?: number;
}

interface Values {
  string: string;
  integer: number;
  number: number;
  boolean: boolean;
  object: { [key: string]: Json };
  any: Json;
  "string[]": string[];
  "integer[]": number[];
  "number[]": number[];
  "boolean[]": boolean[];
  "object[]": { [key: string]: Json }[];
  "any[]": Json[];
}

/** A value that the run's input gives. */
export interface ValueProp<T extends keyof Values = keyof Values> {
  type: T;
  label?: string;
  description?: string;
  optional?: boolean;
  /** Used where the input says nothing. */
  default?: Json;
  /** The only values allowed. */
  options?: readonly (Json | { label?: string; value: Json })[];
  /** Kept out of logs, outputs and run records. */
  secret?: boolean;
}

export type Prop = AppProp | ValueProp;
export type Props = { readonly [name: string]: Prop | keyof Values };

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

type Elements<T> = T extends readonly unknown[] ? T[number] : T;
type Chosen<O, T> = O extends { value: infer V } ? V : O extends T ? O : never;

/** What a value prop holds in a run. */
type ValueOf<P> = P extends keyof Values
  ? Values[P]
  : P extends { type: infer T extends keyof Values; options: infer O extends readonly unknown[] }
    ? T extends `${string}[]`
      ? Chosen<O[number], Elements<Values[T]>>[]
      : Chosen<O[number], Values[T]>
    : P extends { type: infer T extends keyof Values }
      ? Values[T]
      : never;

/** A default stands in for what is missing. */
type MayMiss<P> = P extends { default: {} | null } ? false : P extends { optional: true } ? true : false;

type IsApp<P> = P extends { type: "app" } ? true : false;

/** The input of a native step: its props without accounts. */
export type Input<P extends Props> = {
  [K in keyof P as IsApp<P[K]> extends true ? never : K]: MayMiss<P[K]> extends true
    ? ValueOf<P[K]> | undefined
    : ValueOf<P[K]>;
};

export interface AccountInit extends RequestInit {
  /** Which of the app's rule sets to use, such as `bot` or `user`; none: the app's default. */
  identity?: string;
}

/** A path below the app's base, or an absolute URL within the account's reach. */
export type AccountFetch = (input: string | URL | Request, init?: AccountInit) => Promise<Response>;

/** An account of a native step. */
export interface Account {
  readonly app: string;
  /** `app/nickname` */
  readonly name: string;
  /** At the app, where it is known. */
  readonly identity: string | null;
  readonly scopes: readonly string[];
  /** What its owner gave at connect, such as the name of a shop. */
  readonly inputs: Readonly<Record<string, string>>;
  /** Stand-ins for its tokens, by name. Worth nothing outside this run. */
  readonly markers: Readonly<Record<string, string>>;
  readonly fetch: AccountFetch;
}

/** An account as a component sees it. */
export interface AppValue {
  /** Stand-ins for its tokens and what its owner gave at connect: `this.slack.$auth.oauth_access_token`. */
  readonly $auth: Readonly<Record<string, string>>;
  readonly $name: string;
  readonly $identity: string | null;
  readonly fetch: AccountFetch;
}

type Accounts<P extends Props, A> = {
  readonly [K in keyof P as IsApp<P[K]> extends true ? K : never]: MayMiss<P[K]> extends true ? A | undefined : A;
};

/** What earlier steps of the workflow left. */
export interface Steps {
  readonly trigger: { readonly event: any };
  readonly [step: string]: any;
}

export interface Log {
  debug(...values: unknown[]): void;
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
}

/** The second argument of a native step. */
export interface Context<P extends Props> {
  readonly accounts: Accounts<P, Account>;
  readonly steps: Steps;
  /** What started the workflow. */
  readonly trigger: any;
  readonly log: Log;
}

/** `export default` of a native step; `P` is the type of its export `props`. */
export type NativeStep<P extends Props = {}> = (input: Input<P>, context: Context<P>) => unknown;

export interface HttpAnswer {
  status?: number;
  headers?: Record<string, string | number>;
  body?: unknown;
}

/** What a component says to its workflow. */
export interface Dollar {
  export(name: string, value: unknown): void;
  readonly flow: {
    /** The workflow ends here, well. */
    exit(reason?: string): never;
  };
  /** The answer to the workflow's HTTP trigger; once. */
  respond(answer: HttpAnswer): void;
}

export type Methods = { [name: string]: (...values: any[]) => any };

/** `this` of a component's `run` and methods. */
export type Self<P extends Props, M extends Methods = {}> = Input<P> & Accounts<P, AppValue> & M;

export interface Component<P extends Props, M extends Methods> {
  name?: string;
  description?: string;
  version?: string;
  key?: string;
  type?: "action";
  annotations?: { [name: string]: unknown };
  props?: P;
  methods?: M;
  run(context: { steps: Steps; $: Dollar }): unknown;
}

export declare function defineComponent<const P extends Props = {}, M extends Methods = {}>(
  component: Component<P, M> & ThisType<Self<P, M>>,
): Component<P, M>;
