/** The promises of writes: when they are on this disk, and when on the hub's. */
import { SyncError } from "./errors.js";
import type { Kernel } from "./kernel.js";

/** A promise that is settled from outside. Nobody has to listen to it. */
export class Deferred {
  readonly promise: Promise<void>;
  resolve!: () => void;
  reject!: (error: SyncError) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.promise.catch(() => {});
  }
}

/** The writes that the hub does not have yet. */
export class Receipts {
  readonly #waiting = new Map<string, Deferred>();

  /** Resolves when the hub has the dot on its disk. */
  follow(dot: string): Promise<void> {
    const known = this.#waiting.get(dot) ?? new Deferred();
    this.#waiting.set(dot, known);
    return known.promise;
  }

  /** Settles what the outbox says about. */
  check(kernel: Kernel): void {
    for (const [dot, deferred] of this.#waiting) {
      const receipt = kernel.receipt(dot);
      if (receipt.parked) {
        deferred.reject(new SyncError("refused", `The hub refused this change: ${receipt.reason ?? "no reason given"}`));
      } else if (receipt.hub) {
        deferred.resolve();
      } else {
        continue;
      }
      this.#waiting.delete(dot);
    }
  }

  fail(error: SyncError): void {
    for (const deferred of this.#waiting.values()) deferred.reject(error);
    this.#waiting.clear();
  }
}
