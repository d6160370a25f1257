// `process` and `Buffer`, for packages that expect them. Left out of bundles that use neither.
export { Buffer } from "node:buffer";
export { default as process } from "node:process";
