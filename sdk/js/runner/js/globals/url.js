// URL and URLSearchParams: `whatwg-url`, the standard's reference implementation.

import wrapper from "whatwg-url/webidl2js-wrapper.js";
import { expose, inspectable } from "../idl.js";

wrapper.URL.install(globalThis, ["Worker"]);
wrapper.URLSearchParams.install(globalThis, ["Worker"]);

const { URL, URLSearchParams } = globalThis;
expose("URL", URL);
expose("URLSearchParams", URLSearchParams);

inspectable(URL, (url) => ({
  href: url.href,
  origin: url.origin,
  protocol: url.protocol,
  host: url.host,
  pathname: url.pathname,
  search: url.search,
  hash: url.hash,
}));
inspectable(URLSearchParams, (params) => Object.fromEntries(params));

export { URL, URLSearchParams };
