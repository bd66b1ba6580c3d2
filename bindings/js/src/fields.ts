/** Fields that are more than plain values: how they are written, and how they read. */
import type { Shape, Value } from "./types.js";

/** Marks a field for the core. The same symbol in every copy of this package. */
export const FIELD: unique symbol = Symbol.for("sync-sdk.field") as never;

/** A register of which the last write wins, without a conflict. It reads as its value. */
export interface Latest<V extends Value = Value> {
  readonly [FIELD]: readonly ["latest", V];
}

/** A counter: concurrent changes add up. It reads as a number. */
export interface Counter {
  readonly [FIELD]: readonly ["counter", number];
}

/** Fields below a field: each of them merges on its own. They read as an object. */
export interface Nested<T extends Shape = Shape> {
  readonly [FIELD]: readonly ["nested", T];
}

// A class, so that none of these is taken for a plain value.
class Marked<K extends string, T> {
  readonly [FIELD]: readonly [K, T];

  constructor(kind: K, content: T) {
    this[FIELD] = [kind, content];
  }
}

/** A field of which the last write wins. */
export function latest<V extends Value>(value: V): Latest<V> {
  return new Marked("latest", value);
}

/** A counter that stands at a whole number. To change one, use `count` of its collection. */
export function counter(count = 0): Counter {
  return new Marked("counter", count);
}

/** An object whose fields merge one by one. A plain object is one value and is written as a whole. */
export function nested<T extends Shape>(fields: T): Nested<T> {
  return new Marked("nested", { ...fields });
}
