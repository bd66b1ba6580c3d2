/** The tabs of this profile that have the document open: who they are, and what they tell each other. */
import type { Channel, Environment } from "./environment.js";
import { slotLock } from "./slot.js";
import type { SlotRow } from "./store.js";
import type { Connection, Peer } from "./types.js";

/** How the tab that holds the socket stands with the hub. */
export interface HubStatus {
  readonly connection: Connection;
  readonly reason?: string;
  readonly caughtUp: boolean;
  readonly peers: readonly Omit<Peer, "self">[];
}

type Message =
  /** Rows were stored. */
  | { readonly type: "stored" }
  /** A tab came, or shows something else. */
  | { readonly type: "here"; readonly opening: bigint }
  /** A tab went, or is isolated. */
  | { readonly type: "gone"; readonly opening: bigint }
  /** How the hub is. */
  | { readonly type: "hub"; readonly status: HubStatus }
  /** Asks how the hub is. */
  | { readonly type: "ask" }
  /** Somebody is looking: try the hub at once. */
  | { readonly type: "wake" };

export interface TabEvents {
  stored(): void;
  /** Other tabs came or went. */
  moved(): void;
  hub(status: HubStatus): void;
  asked(): void;
  woken(): void;
}

export class Tabs {
  /** An isolated tab neither tells nor hears anything. */
  isMuted = false;
  readonly #environment: Environment;
  readonly #doc: string;
  readonly #events: TabEvents;
  readonly #channel: Channel;
  /** Openings of tabs that said they go: their locks may be held a moment longer. */
  readonly #gone = new Set<bigint>();
  #held: ReadonlySet<string> = new Set();

  constructor(environment: Environment, doc: string, events: TabEvents) {
    this.#environment = environment;
    this.#doc = doc;
    this.#events = events;
    this.#channel = environment.openChannel(`sync-sdk/${doc}`, (message) => this.#receive(message as Message));
  }

  post(message: Message): void {
    if (!this.isMuted) this.#channel.post(message);
  }

  /** Looks which tabs live; tells whether that changed. */
  async look(): Promise<boolean> {
    const prefix = slotLock(this.#doc, 0).slice(0, -1);
    const held = new Set([...(await this.#environment.locks.held())].filter((name) => name.startsWith(prefix)));
    const isSame = held.size === this.#held.size && [...held].every((name) => this.#held.has(name));
    this.#held = held;
    return !isSame;
  }

  isAlive({ slot }: SlotRow): boolean {
    return this.#held.has(slotLock(this.#doc, slot));
  }

  /** The tabs among these that are open and not isolated. */
  online(slots: readonly SlotRow[]): readonly SlotRow[] {
    return slots.filter((row) => this.isAlive(row) && row.base === undefined && !this.#gone.has(row.opening));
  }

  close(): void {
    this.#channel.close();
  }

  #receive(message: Message): void {
    if (this.isMuted) return;
    switch (message.type) {
      case "stored":
        return this.#events.stored();
      case "here":
        this.#gone.delete(message.opening);
        return this.#events.moved();
      case "gone":
        this.#gone.add(message.opening);
        return this.#events.moved();
      case "hub":
        return this.#events.hub(message.status);
      case "ask":
        return this.#events.asked();
      case "wake":
        return this.#events.woken();
    }
  }
}
