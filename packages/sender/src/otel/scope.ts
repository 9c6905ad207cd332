/** Target of what belongs to an instrumentation scope. */
export function targetOf(name: string, version: string | undefined): string {
  return version ? `${name}@${version}` : name;
}
