import type { Write } from "sync-sdk";

/** How far the last change of a note came. Never more than the package has promised. */
export type Place = "memory" | "disk" | "hub" | "refused" | "lost";

/** Follows the promises of the last write of each note of this tab. */
export class Safety {
  #places = new Map<string, { write: Write; place: Place }>();
  #listeners = new Set<() => void>();

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** `undefined` for a note that this tab has not changed since it was opened. */
  of(id: string): Place | undefined {
    return this.#places.get(id)?.place;
  }

  follow(id: string, write: Write): void {
    this.#places.set(id, { write, place: "memory" });
    this.#tell();
    write.disk.then(
      () => this.#move(id, write, "disk"),
      () => this.#move(id, write, "lost"),
    );
    write.hub.then(
      () => this.#move(id, write, "hub"),
      () => this.#move(id, write, "refused"),
    );
  }

  #move(id: string, write: Write, place: Place): void {
    const entry = this.#places.get(id);
    if (entry?.write !== write) return;
    // A change that is on the hub stays there, and a lost one is not made better by a refusal.
    if (entry.place === "hub" || entry.place === "lost") return;
    if (entry.place === "refused" && place === "disk") return;
    entry.place = place;
    this.#tell();
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
