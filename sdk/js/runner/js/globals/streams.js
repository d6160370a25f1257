// Streams: `web-streams-polyfill`, which runs against the web-platform tests itself.

import * as streams from "web-streams-polyfill";
import { expose } from "../idl.js";

for (const [name, value] of Object.entries(streams)) expose(name, value);

export const { ReadableStream, TransformStream, WritableStream } = streams;

/** Has anything been read from it? */
export const isDisturbed = (stream) => stream._disturbed === true;
