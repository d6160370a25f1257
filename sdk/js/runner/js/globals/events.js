// EventTarget and Event: `event-target-shim`. What a listener throws fails the run, as in Node.

import { Event, EventTarget, setErrorHandler, setWarningHandler } from "event-target-shim";
import { decorate, dictionary, expose } from "../idl.js";

/** For errors that nobody can catch: a rejection without a handler, which ends the run badly. */
export function reportError(error) {
  Promise.reject(error);
}

setErrorHandler(reportError);
setWarningHandler(() => {});

class CustomEvent extends Event {
  #detail;

  constructor(type, init = undefined) {
    super(type, init);
    this.#detail = dictionary(init, "CustomEvent's init").detail ?? null;
  }

  get detail() {
    return this.#detail;
  }
}

decorate(CustomEvent, "CustomEvent");
expose("Event", Event);
expose("EventTarget", EventTarget);
expose("CustomEvent", CustomEvent);
expose("reportError", function reportError(error) {
  Promise.reject(error);
});

export { Event, EventTarget };
