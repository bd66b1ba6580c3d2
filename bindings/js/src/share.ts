/** Structural sharing: what has not changed stays the same object. */

/** `next`, with everything that equals its counterpart in `old` taken from there. */
export function share<T>(old: T, next: T): T {
  return shared(old, next) as T;
}

function shared(old: unknown, next: unknown): unknown {
  if (Object.is(old, next)) return old;
  if (typeof old !== "object" || typeof next !== "object" || old === null || next === null) return next;
  if (Array.isArray(next)) return Array.isArray(old) ? sharedArray(old, next) : next;
  if (next instanceof Set) return old instanceof Set && isSameSet(old, next) ? old : next;
  if (next instanceof Uint8Array) return old instanceof Uint8Array && isSameBytes(old, next) ? old : next;
  if (Array.isArray(old) || old instanceof Set || old instanceof Uint8Array) return next;
  return sharedObject(old as Record<string, unknown>, next as Record<string, unknown>);
}

function sharedArray(old: readonly unknown[], next: unknown[]): unknown {
  let same = old.length === next.length;
  for (let i = 0; i < next.length; i += 1) {
    next[i] = shared(old[i], next[i]);
    same &&= i < old.length && Object.is(next[i], old[i]);
  }
  return same ? old : next;
}

function sharedObject(old: Record<string, unknown>, next: Record<string, unknown>): unknown {
  const names = Object.keys(next);
  let same = names.length === Object.keys(old).length;
  for (const name of names) {
    const before = Object.hasOwn(old, name) ? old[name] : undefined;
    const value = shared(before, next[name]);
    // An assignment to this name would change the prototype.
    if (name !== "__proto__") next[name] = value;
    same &&= Object.hasOwn(old, name) && Object.is(value, before);
  }
  return same ? old : next;
}

/** Sets come from the core in its own order, so equal ones list equal members in the same order. */
function isSameSet(old: Set<unknown>, next: Set<unknown>): boolean {
  if (old.size !== next.size) return false;
  const members = [...old];
  let i = 0;
  for (const member of next) {
    if (!Object.is(shared(members[i], member), members[i])) return false;
    i += 1;
  }
  return true;
}

function isSameBytes(old: Uint8Array, next: Uint8Array): boolean {
  return old.length === next.length && old.every((byte, i) => byte === next[i]);
}
