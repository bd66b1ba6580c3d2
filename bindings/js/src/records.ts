/** What was read from the core, kept so that what has not changed stays the same object. */
import type { Kernel, RawRecord } from "./kernel.js";
import { share } from "./share.js";
import type { ConflictEntry, Version } from "./types.js";

const NO_VERSIONS: readonly Version<never>[] = [];

interface Loaded {
  list: readonly RawRecord[];
  readonly byId: Map<string, RawRecord>;
  /** Records that may read differently. */
  readonly touched: Set<string>;
}

export class Records {
  readonly #collections = new Map<string, Loaded>();
  readonly #versions = new Map<string, readonly Version<never>[]>();
  #conflicts: readonly ConflictEntry[] = [];
  #areConflictsOld = true;

  /** `isReadable` says no after a crash: what was read before is all there is then. */
  constructor(
    readonly kernel: Kernel,
    readonly isReadable: () => boolean,
  ) {}

  touch(places: readonly (readonly [collection: string, id: string])[]): void {
    for (const [collection, id] of places) this.#collections.get(collection)?.touched.add(id);
    this.touchConflicts();
  }

  touchConflicts(): void {
    this.#areConflictsOld = true;
  }

  list(collection: string): readonly RawRecord[] {
    return this.#loaded(collection).list;
  }

  get(collection: string, id: string): RawRecord | undefined {
    return this.#loaded(collection).byId.get(id);
  }

  versions(collection: string, id: string): readonly Version<never>[] {
    const key = `${collection}\u001f${id}`;
    const known = this.#versions.get(key) ?? NO_VERSIONS;
    if (!this.isReadable()) return known;
    const versions = share(known, this.kernel.versions(collection, id));
    if (versions.length > 0) this.#versions.set(key, versions);
    else this.#versions.delete(key);
    return versions.length > 0 ? versions : NO_VERSIONS;
  }

  conflicts(): readonly ConflictEntry[] {
    if (this.#areConflictsOld && this.isReadable()) {
      const old = new Map(this.#conflicts.map((entry) => [entry.key, entry]));
      const entries = this.kernel.conflicts().map((entry) => share(old.get(entry.key) ?? entry, entry));
      const isSame = entries.length === old.size && entries.every((entry, i) => entry === this.#conflicts[i]);
      if (!isSame) this.#conflicts = entries;
      this.#areConflictsOld = false;
    }
    return this.#conflicts;
  }

  #loaded(collection: string): Loaded {
    let loaded = this.#collections.get(collection);
    if (loaded === undefined) {
      const list = this.isReadable() ? this.kernel.records(collection) : [];
      loaded = { list, byId: new Map(list.map((record) => [record.id, record])), touched: new Set() };
      this.#collections.set(collection, loaded);
    } else if (loaded.touched.size > 0 && this.isReadable()) {
      this.#update(collection, loaded);
    }
    return loaded;
  }

  #update(collection: string, loaded: Loaded): void {
    const { byId, touched } = loaded;
    let isChanged = false;
    let isOtherSet = false;
    for (const id of touched) {
      const old = byId.get(id);
      const found = this.kernel.record(collection, id);
      const record = found && old ? share(old, found) : found;
      if (record === old) continue;
      isChanged = true;
      isOtherSet ||= record === undefined || old === undefined;
      if (record) byId.set(id, record);
      else byId.delete(id);
    }
    touched.clear();
    if (isOtherSet) loaded.list = [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    else if (isChanged) loaded.list = loaded.list.map((record) => byId.get(record.id) ?? record);
  }
}
