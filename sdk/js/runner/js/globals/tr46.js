// `tr46` is only needed for names beyond ASCII: its tables are made when the first one comes, not in every snapshot.

let real;

function load() {
  real ??= require("tr46-real");
  return real;
}

export const toASCII = (name, options) => load().toASCII(name, options);
export const toUnicode = (name, options) => load().toUnicode(name, options);
