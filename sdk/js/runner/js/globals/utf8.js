// UTF-8 by the host, in the place of the one written in JavaScript inside `@exodus/bytes`.

import { host } from "../host.js";

export const decodeFast = (bytes, loose) => host.utf8Decode(bytes, !loose);

export function encode(text, loose) {
  if (!loose && !text.isWellFormed()) throw new TypeError("the text holds a lone surrogate");
  return host.utf8Encode(text);
}
