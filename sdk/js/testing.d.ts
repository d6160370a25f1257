/** What a step left. */
export interface Ran {
  value: any;
  exports: Record<string, any>;
  exit: string | null;
  respond: any;
}

/** A stand-in for a bound account. */
export interface Account {
  name?: string;
  identity?: string;
  $auth?: Record<string, string>;
  fetch?: (path: string, init?: RequestInit) => Promise<Response>;
  [field: string]: any;
}

/** Runs a step in Node, with stand-ins for its accounts. */
export function run(
  step: any,
  given?: {
    accounts?: Record<string, Account>;
    props?: Record<string, any>;
    steps?: Record<string, any>;
    trigger?: any;
    /** The `props` of a native step, for their defaults. */
    declares?: Record<string, any>;
  },
): Promise<Ran>;
