/** An open document: one tab's replica, its place among the other tabs, and its way to the hub. */
import { OpenCollection } from "./collection.js";
import { Engine } from "./engine.js";
import type { Environment, Release } from "./environment.js";
import { SyncError } from "./errors.js";
import type { Kernel } from "./kernel.js";
import { Leader } from "./leader.js";
import { Records } from "./records.js";
import { share } from "./share.js";
import { remember, slotLock, takeSoon } from "./slot.js";
import type { SlotRow, Store } from "./store.js";
import { Tabs, type HubStatus } from "./tabs.js";
import { exportDocument, readExport } from "./transfer.js";
import type { Collection, ConflictEntry, Peer, Shape, Status, SyncDocument } from "./types.js";

/** What a document is made of. */
export interface Parts {
  readonly environment: Environment;
  readonly store: Store;
  readonly kernel: Kernel;
  readonly slot: SlotRow;
  readonly seen: number;
  readonly release: Release;
  readonly address: string | undefined;
}

export class OpenDocument implements SyncDocument {
  readonly name: string;
  readonly #environment: Environment;
  readonly #store: Store;
  readonly #engine: Engine;
  readonly #records: Records;
  readonly #tabs: Tabs;
  readonly #leader: Leader;
  readonly #collections = new Map<string, OpenCollection<Shape>>();
  readonly #listeners = new Set<() => void>();
  readonly #unwatch: () => void;
  #release: Release | undefined;
  #isOffline: boolean;
  #switching: Promise<void> = Promise.resolve();
  #slots: readonly SlotRow[] = [];
  #hub: HubStatus | undefined;
  #told: HubStatus | undefined;
  #persistent: boolean | undefined;
  #status: Status | undefined;
  #online: readonly Peer[] = [];

  constructor({ environment, store, kernel, slot, seen, release, address }: Parts) {
    this.name = slot.doc;
    this.#environment = environment;
    this.#store = store;
    this.#release = release;
    this.#isOffline = slot.base !== undefined;
    this.#records = new Records(kernel, () => this.#isReadable());
    this.#tabs = new Tabs(environment, slot.doc, {
      stored: () => this.#engine.refresh(),
      moved: () => this.#look(),
      hub: (status) => {
        this.#hub = status;
        this.#changed();
      },
      asked: () => this.#tellHub(true),
      woken: () => this.#leader.line?.hurry(),
    });
    this.#engine = new Engine(kernel, environment, store, slot, seen, {
      send: (frame) => this.#leader.line?.send(frame),
      disconnect: (reason) => this.#leader.line?.retry(`The connection was given up: ${reason}.`),
      welcomed: () => this.#leader.line?.welcomed(),
      inUse: (replica) => this.#leader.refuse(replica),
      stored: () => this.#tabs.post({ type: "stored" }),
      read: (news) => {
        this.#slots = news.slots;
        return this.#leader.read(news);
      },
      changed: (places) => this.#records.touch(places),
      shown: () => this.#changed(),
      failed: () => this.#failed(),
    });
    this.#leader = new Leader(environment, this.#engine, this.#tabs, slot.name, address);
    this.#tabs.isMuted = this.#isOffline;
    this.#unwatch = environment.watch({
      woken: () => this.#woken(),
      hidden: () => this.#hidden(),
      shown: () => void this.#shown(),
    });
  }

  /** Takes its place among the tabs. */
  start(): void {
    // What opening has asserted, where an edit met a delete.
    this.#engine.drive(() => {});
    this.#enter();
    void this.#environment.persist().then((persistent) => {
      this.#persistent = persistent;
      this.#changed();
    });
  }

  get replica(): string {
    return this.#engine.slot.replica;
  }

  collection<T extends Shape>(name: string): Collection<T> {
    let collection = this.#collections.get(name);
    if (collection === undefined) {
      collection = new OpenCollection<Shape>(name, this.#engine, this.#records);
      this.#collections.set(name, collection);
    }
    return collection as unknown as Collection<T>;
  }

  status(): Status {
    this.#status ??= this.#newStatus(undefined);
    return this.#status;
  }

  online(): readonly Peer[] {
    return this.#online;
  }

  conflicts(): readonly ConflictEntry[] {
    return this.#records.conflicts();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  isOffline(): boolean {
    return this.#isOffline;
  }

  setOffline(offline: boolean): Promise<void> {
    const switched = this.#switching.then(() => this.#switch(offline));
    this.#switching = switched.catch(() => {});
    return switched;
  }

  async export(): Promise<Blob> {
    await this.#engine.settled();
    if (this.#engine.failure) throw this.#engine.failure;
    return exportDocument(this.#store, this.#engine.slot);
  }

  async import(file: Blob): Promise<void> {
    const pieces = await readExport(file);
    if (this.#engine.failure) throw this.#engine.failure;
    await this.#engine.import(pieces);
  }

  async close(): Promise<void> {
    this.#unwatch();
    this.#listeners.clear();
    await this.#leave();
    this.#engine.fail(
      new SyncError("closed", "The document was closed. What was saved is on this disk, and goes to the hub later."),
    );
    this.#tabs.close();
    this.#store.close();
    this.#engine.kernel.free();
  }

  /** The storage is gone. */
  lost(error: SyncError): void {
    this.#engine.fail(error);
  }

  async #switch(offline: boolean): Promise<void> {
    if (this.#engine.failure) throw this.#engine.failure;
    if (offline === this.#isOffline) return;
    if (offline) {
      this.#isOffline = true;
      remember(this.#environment, this.name, { slot: this.#engine.slot.slot, offline });
      const isolated = this.#engine.isolate();
      this.#tabs.post({ type: "gone", opening: this.#engine.slot.opening });
      this.#tabs.isMuted = true;
      this.#hub = undefined;
      this.#changed();
      await this.#leader.stop();
      await isolated;
    } else {
      await this.#engine.comeBack();
      this.#isOffline = false;
      remember(this.#environment, this.name, { slot: this.#engine.slot.slot, offline });
      this.#tabs.isMuted = false;
      this.#tabs.post({ type: "stored" });
      this.#enter();
    }
    this.#changed();
  }

  /** Says that this tab is here, and runs for the socket. */
  #enter(): void {
    if (this.#isOffline) return;
    this.#tabs.post({ type: "here", opening: this.#engine.slot.opening });
    this.#tabs.post({ type: "ask" });
    this.#look();
    this.#leader.start();
  }

  async #leave(): Promise<void> {
    this.#tabs.post({ type: "gone", opening: this.#engine.slot.opening });
    await this.#leader.stop();
    this.#release?.();
    this.#release = undefined;
  }

  /** Looks which tabs are there. */
  #look(): void {
    void this.#tabs.look().then(() => this.#engine.refresh());
  }

  #woken(): void {
    if (this.#isOffline) return;
    this.#look();
    if (this.#leader.isLeading) this.#leader.line?.hurry();
    else this.#tabs.post({ type: "wake" });
  }

  /** The page goes, perhaps for ever: the next tab can lead at once. */
  #hidden(): void {
    this.#tabs.post({ type: "gone", opening: this.#engine.slot.opening });
    void this.#leader.stop();
    this.#release?.();
    this.#release = undefined;
  }

  /** The page is back as it was. Its slot may have another tab, which the next transaction sees. */
  async #shown(): Promise<void> {
    const { slot } = this.#engine.slot;
    this.#release = await takeSoon(this.#environment, slotLock(this.name, slot));
    if (this.#release === undefined) {
      const message = "This page was put aside, and another tab took its place. Reload the page.";
      return this.#engine.fail(new SyncError("taken-over", message));
    }
    this.#enter();
  }

  /** Whether the core still answers. */
  #isReadable(): boolean {
    const code = this.#engine.failure?.code;
    return code !== "crashed" && code !== "closed";
  }

  #failed(): void {
    void this.#leader.stop();
    this.#release?.();
    this.#release = undefined;
    this.#changed();
  }

  #changed(): void {
    this.#records.touchConflicts();
    this.#status = this.#newStatus(this.#status);
    this.#online = share(this.#online, this.#newOnline());
    this.#tellHub(false);
    for (const listener of [...this.#listeners]) listener();
  }

  /** Tells the other tabs how the hub is, if this tab knows best and it is news. */
  #tellHub(always: boolean): void {
    if (!this.#leader.isLeading || !this.#leader.line) return;
    const own = this.#ownHub();
    const status = this.#told ? share(this.#told, own) : own;
    if (status !== this.#told || always) this.#tabs.post({ type: "hub", status });
    this.#told = status;
  }

  #ownHub(): HubStatus {
    const { line } = this.#leader;
    if (line === undefined) return { connection: "offline", reason: NO_HUB, caughtUp: false, peers: [] };
    const { connection, reason } = line;
    const { kernel, failure } = this.#engine;
    if (failure) return { connection: "offline", caughtUp: false, peers: [] };
    const known = { connection, caughtUp: kernel.isLive(), peers: kernel.peers() };
    return reason === undefined ? known : { ...known, reason };
  }

  /** How the hub is, from whoever knows. */
  #hubStatus(): HubStatus {
    const { failure } = this.#engine;
    const alone = { caughtUp: false, peers: [] };
    if (failure) return { connection: "offline", reason: failure.message, ...alone };
    if (this.#isOffline) return { connection: "offline", reason: "This tab is switched offline.", ...alone };
    if (this.#leader.isLeading) return this.#ownHub();
    if (this.#leader.line === undefined) return { connection: "offline", reason: NO_HUB, ...alone };
    return this.#hub ?? { connection: "connecting", ...alone };
  }

  #newStatus(old: Status | undefined): Status {
    const { failure, kernel, unsaved } = this.#engine;
    const { connection, reason, caughtUp } = this.#hubStatus();
    const waiting = this.#isReadable()
      ? kernel.waiting()
      : { pending: old?.pending ?? 0, parked: old?.parked ?? 0 };
    const status: Status = {
      connection,
      ...(reason === undefined ? {} : { reason }),
      ...waiting,
      caughtUp,
      unsaved,
      ...(this.#persistent === undefined ? {} : { persistent: this.#persistent }),
      ...(failure === undefined ? {} : { failure: { code: failure.code, message: failure.message } }),
    };
    return old === undefined ? status : share(old, status);
  }

  #newOnline(): Peer[] {
    const { slot } = this.#engine;
    const peers = new Map([[slot.replica, { replica: slot.replica, name: slot.name, self: true }]]);
    if (!this.#isOffline && !this.#engine.failure) {
      const others = [...this.#tabs.online(this.#slots), ...this.#hubStatus().peers];
      for (const { replica, name } of others) {
        if (!peers.has(replica)) peers.set(replica, { replica, name, self: false });
      }
    }
    return [...peers.values()];
  }
}

const NO_HUB = "This document was opened without a hub.";
