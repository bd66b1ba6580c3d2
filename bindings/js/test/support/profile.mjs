// Stands in for a browser's profile: one database, one set of locks, one channel, any number of tabs.
import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { openIn } from "../../dist/open.js";

globalThis.IDBKeyRange ??= IDBKeyRange;

export class Profile {
  constructor({ openSocket } = {}) {
    this.databases = new IDBFactory();
    this.locks = new Map();
    this.waiting = [];
    this.channels = new Set();
    this.messages = [];
    this.openSocket = openSocket;
    this.unixMs = 1_800_000_000_000;
  }

  tab() {
    return new Tab(this);
  }

  take(name, tab) {
    const lock = { name, tab };
    this.locks.set(name, lock);
    return () => this.release(lock);
  }

  release(lock) {
    if (this.locks.get(lock.name) !== lock) return;
    this.locks.delete(lock.name);
    const next = this.waiting.find(({ name }) => name === lock.name);
    if (!next) return;
    this.waiting = this.waiting.filter((other) => other !== next);
    next.grant(this.take(next.name, next.tab));
  }
}

/** One tab: its storage lives across reloads, everything else ends with a kill. */
export class Tab {
  constructor(profile) {
    this.profile = profile;
    this.session = new Map();
    this.page = undefined;
  }

  async open(doc, options = {}) {
    const page = new Page(this);
    this.page = page;
    page.document = await openIn(page, doc, { name: "tab", ...options });
    return page.document;
  }

  /** Ends the page as a crash would: no goodbye, and nothing runs any more. */
  kill() {
    this.page.die();
  }

  async reload(doc, options) {
    this.page.events?.hidden();
    await settle();
    this.kill();
    return this.open(doc, options);
  }
}

class Page {
  constructor(tab) {
    this.tab = tab;
    this.profile = tab.profile;
    this.isDead = false;
    this.timers = new Set();
    this.databases = this.profile.databases;
    this.locks = {
      tryTake: async (name) => {
        this.check();
        return this.profile.locks.has(name) ? undefined : this.profile.take(name, this);
      },
      take: (name, signal) =>
        new Promise((resolve, reject) => {
          if (!this.profile.locks.has(name)) return resolve(this.profile.take(name, this));
          const wish = { name, tab: this, grant: resolve };
          this.profile.waiting.push(wish);
          signal.addEventListener("abort", () => {
            this.profile.waiting = this.profile.waiting.filter((other) => other !== wish);
            reject(signal.reason);
          });
        }),
      held: async () => new Set(this.profile.locks.keys()),
    };
  }

  check() {
    if (this.isDead) throw new Error("this page is dead");
  }

  die() {
    this.isDead = true;
    for (const stop of this.timers) stop();
    for (const channel of [...this.profile.channels]) if (channel.page === this) this.profile.channels.delete(channel);
    this.profile.waiting = this.profile.waiting.filter(({ tab }) => tab !== this);
    for (const lock of [...this.profile.locks.values()]) if (lock.tab === this) this.profile.release(lock);
  }

  openChannel(name, received) {
    const channel = { name, page: this, received };
    this.profile.channels.add(channel);
    return {
      post: (message) => {
        if (this.isDead) return;
        this.profile.messages.push({ page: this, message });
        for (const other of this.profile.channels) {
          if (other === channel || other.name !== name) continue;
          setImmediate(() => {
            if (!other.page.isDead) other.received(structuredClone(message));
          });
        }
      },
      close: () => this.profile.channels.delete(channel),
    };
  }

  openSocket(address, events) {
    return this.profile.openSocket(address, events, this);
  }

  recall(key) {
    return this.tab.session.get(key);
  }

  remember(key, text) {
    this.tab.session.set(key, text);
  }

  watch(events) {
    this.events = events;
    return () => {
      this.events = undefined;
    };
  }

  async persist() {
    return true;
  }

  monotonicMs() {
    return performance.now();
  }

  unixMs() {
    return (this.profile.unixMs += 1);
  }

  random(count) {
    return crypto.getRandomValues(new Uint8Array(count));
  }

  after(ms, run) {
    const timer = setTimeout(() => this.isDead || run(), ms);
    // A test ends when it is done, whatever still waits.
    timer.unref();
    const stop = () => {
      clearTimeout(timer);
      this.timers.delete(stop);
    };
    this.timers.add(stop);
    return stop;
  }
}

/** Lets everything that is under way come to rest. */
export async function settle(ms = 30) {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until `condition` gives something. */
export async function until(condition, what = "it") {
  const end = performance.now() + 10_000;
  for (;;) {
    const result = condition();
    if (result) return result;
    if (performance.now() > end) throw new Error(`waited too long until ${what}`);
    await settle(5);
  }
}

/** The records without what differs from run to run. */
export function plain(collection) {
  return collection.list().map((record) => {
    const { id: _, ...fields } = record;
    for (const [name, value] of Object.entries(fields)) if (value instanceof Set) fields[name] = [...value].sort();
    return fields;
  });
}
