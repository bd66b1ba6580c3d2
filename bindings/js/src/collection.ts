/** A collection of records, as the application sees it. */
import type { Engine } from "./engine.js";
import { freshId } from "./kernel.js";
import type { Records } from "./records.js";
import type { Collection, Shape, Stored, Version, Write } from "./types.js";

export class OpenCollection<T extends Shape> implements Collection<T> {
  readonly #engine: Engine;
  readonly #records: Records;

  constructor(
    readonly name: string,
    engine: Engine,
    records: Records,
  ) {
    this.#engine = engine;
    this.#records = records;
  }

  list(): readonly Stored<T>[] {
    return this.#records.list(this.name) as readonly Stored<T>[];
  }

  get(id: string): Stored<T> | undefined {
    return this.#records.get(this.name, id) as Stored<T> | undefined;
  }

  insert(fields: T): Write & { readonly id: string } {
    const id = this.#engine.nextId(freshId);
    // A getter runs here, where it may read this document.
    const given = { ...fields };
    return { id, ...this.#write((handle, unix) => handle.insert(unix, this.name, id, given)) };
  }

  update(id: string, fields: Partial<T>): Write {
    const given = { ...fields };
    return this.#write((handle, unix) => handle.update(unix, this.name, id, given));
  }

  count(id: string, path: string | readonly string[], amount: number): Write {
    const names = typeof path === "string" ? [path] : [...path];
    return this.#write((handle, unix) => handle.count(unix, this.name, id, names, amount));
  }

  remove(id: string): Write {
    return this.#write((handle, unix) => handle.remove(unix, this.name, id));
  }

  versions(id: string): readonly Version<T>[] {
    return this.#records.versions(this.name, id);
  }

  keep(id: string, version: string): Write {
    return this.#write((handle, unix) => handle.keep(unix, this.name, id, version));
  }

  #write(change: Parameters<Engine["change"]>[0]): Write {
    return this.#engine.change(change);
  }
}
