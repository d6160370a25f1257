/** Says what a component is, for editors and types; it changes nothing. The sandbox has it as a global as well. */
export function defineComponent(component) {
  return component;
}
