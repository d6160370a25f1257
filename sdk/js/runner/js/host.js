// What the runner gives the environment. Taken before any script runs; the global is deleted.

export const host = globalThis.__host;
delete globalThis.__host;
