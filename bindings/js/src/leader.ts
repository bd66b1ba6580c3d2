/**
 * The tab that holds the socket, elected by a lock. It writes for the other tabs of the profile too, and
 * looks after what isolated tabs have left. Nothing is lost where it dies: the next one goes on from disk.
 */
import { bringBack } from "./comeback.js";
import type { Engine } from "./engine.js";
import type { Environment, Release } from "./environment.js";
import { Line } from "./line.js";
import type { News } from "./read.js";
import { leaderLock, slotLock } from "./slot.js";
import type { OutboxRow, SlotRow } from "./store.js";
import type { Tabs } from "./tabs.js";

/** How often it looks which tabs are still there. Arbitrary. */
const LOOK_MS = 10_000;

/** How long an isolated tab's slot has to be free until what it kept is brought back. Arbitrary: longer than a reload. */
const ABANDONED_MS = 30_000;

export class Leader {
  readonly line: Line | undefined;
  isLeading = false;
  readonly #environment: Environment;
  readonly #engine: Engine;
  readonly #tabs: Tabs;
  readonly #name: string;
  #candidacy: AbortController | undefined;
  #release: Release | undefined;
  #stopLooking: () => void = () => {};
  /** Replicas of other tabs that the core speaks for, and the opening of each. */
  readonly #claimed = new Map<string, bigint>();
  /** Replicas that the hub holds for another connection. */
  readonly #refused = new Set<string>();
  /** Rows of the outbox that the hub heard of when this connection was opened. */
  #said: ReadonlySet<string> = new Set();
  #news: Pick<News, "outbox" | "slots"> = { outbox: [], slots: [] };
  /** Since when slots of isolated tabs are free. */
  readonly #freeSince = new Map<number, number>();

  constructor(environment: Environment, engine: Engine, tabs: Tabs, name: string, address: string | undefined) {
    this.#environment = environment;
    this.#engine = engine;
    this.#tabs = tabs;
    this.#name = name;
    this.line = address === undefined ? undefined : new Line(environment, engine, address, () => this.#opened());
  }

  /** Runs for the socket. */
  start(): void {
    if (this.#candidacy || this.#engine.failure) return;
    const candidacy = new AbortController();
    this.#candidacy = candidacy;
    const name = leaderLock(this.#engine.slot.doc, this.line !== undefined);
    this.#environment.locks.take(name, candidacy.signal).then(
      (release) => {
        if (candidacy.signal.aborted) return release();
        this.#release = release;
        void this.#engine.run(() => this.#lead(candidacy.signal));
      },
      () => {},
    );
  }

  /** Gives the socket up, or the wish for it. What was begun is stored before another tab leads. */
  async stop(): Promise<void> {
    this.#candidacy?.abort();
    this.#candidacy = undefined;
    this.isLeading = false;
    this.#stopLooking();
    this.line?.close();
    this.#engine.drive((kernel) => {
      for (const replica of this.#claimed.keys()) kernel.call((handle) => handle.release(replica));
    });
    this.#claimed.clear();
    const release = this.#release;
    this.#release = undefined;
    await this.#engine.settled();
    release?.();
  }

  /** Takes what was read, and says which rows may be sent. */
  read(news: News): readonly OutboxRow[] {
    this.#news = news;
    if (!this.isLeading) return news.outbox;
    if (news.isImported) this.line?.reopen("The hub is told of an import.");
    this.#claim();
    const isHidden = (row: OutboxRow): boolean => this.#refused.has(row.replica) && !this.#said.has(keyOf(row));
    const rows = news.outbox.filter((row) => !isHidden(row));
    // The hub takes them from a connection that says from the start that they are here.
    if (rows.length < news.outbox.length) this.line?.retry("Another connection of this device is still open.");
    return rows;
  }

  /** The hub holds this replica for another connection, perhaps a dead one of this very profile. */
  refuse(replica: string): void {
    this.#claimed.delete(replica);
    this.#refused.add(replica);
  }

  async #lead(signal: AbortSignal): Promise<void> {
    await this.#tabs.look();
    const news = await this.#engine.refreshNow();
    if (!news || signal.aborted) return;
    this.isLeading = true;
    this.#engine.drive((kernel) => {
      kernel.call((handle) => handle.follow_from(news.cursor));
      kernel.call((handle) => handle.show(kernel.replica, this.#name));
    });
    this.#claim();
    this.line?.open();
    this.#engine.events.shown();
    this.#lookLater();
  }

  #opened(): void {
    this.#refused.clear();
    this.#said = new Set(this.#news.outbox.map(keyOf));
    this.#claim();
  }

  /** Claims what it writes for: the tabs that are online, and whoever wrote what is in the outbox. */
  #claim(): void {
    const { slots, outbox } = this.#news;
    this.#engine.drive((kernel) => {
      const own = kernel.replica;
      const online = this.#tabs.online(slots).filter((row) => row.replica !== own);
      const wanted = new Map(outbox.map((row) => [row.replica, row.opening]));
      for (const row of slots) if (wanted.has(row.replica)) wanted.set(row.replica, row.opening);
      for (const row of online) wanted.set(row.replica, row.opening);
      wanted.delete(own);
      for (const replica of this.#refused) wanted.delete(replica);
      for (const replica of this.#claimed.keys()) {
        if (wanted.has(replica)) continue;
        kernel.call((handle) => handle.release(replica));
        this.#claimed.delete(replica);
      }
      for (const [replica, opening] of wanted) {
        if (this.#claimed.get(replica) === opening) continue;
        kernel.call((handle) => handle.claim(replica, opening));
        this.#claimed.set(replica, opening);
      }
      for (const { replica, name } of online) kernel.call((handle) => handle.show(replica, name));
    });
  }

  #lookLater(): void {
    this.#stopLooking = this.#environment.after(LOOK_MS, () => {
      void this.#engine.run(() => this.#look());
    });
  }

  async #look(): Promise<void> {
    if (!this.isLeading) return;
    if (await this.#tabs.look()) {
      this.#engine.refresh();
      this.#tabs.post({ type: "here", opening: this.#engine.slot.opening });
    }
    for (const row of this.#news.slots) await this.#lookAfter(row);
    if (this.isLeading) this.#lookLater();
  }

  /** Brings back what an isolated tab has left, once it is clear that the tab does not come back itself. */
  async #lookAfter(row: SlotRow): Promise<void> {
    const now = this.#environment.monotonicMs();
    if (row.base === undefined || this.#tabs.isAlive(row)) {
      this.#freeSince.delete(row.slot);
      return;
    }
    const since = this.#freeSince.get(row.slot) ?? now;
    this.#freeSince.set(row.slot, since);
    if (now - since < ABANDONED_MS) return;
    const release = await this.#environment.locks.tryTake(slotLock(row.doc, row.slot));
    if (!release) return;
    try {
      await bringBack(this.#engine.store, this.#environment, row.doc, row.slot);
    } finally {
      release();
    }
    this.#engine.refresh();
    this.#engine.events.stored();
  }
}

function keyOf({ replica, last }: OutboxRow): string {
  return `${replica}:${last}`;
}
