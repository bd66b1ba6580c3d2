/** What a document needs of its surroundings, small enough that tests can stand in for a browser. */

/** A lock that is held; calling it gives it back. */
export type Release = () => void;

/** Locks that all tabs of a profile share, and that end with the tab. */
export interface Locks {
  /** Takes a lock if it is free. */
  tryTake(name: string): Promise<Release | undefined>;
  /** Waits for a lock until the signal says no. */
  take(name: string, signal: AbortSignal): Promise<Release>;
  /** The names of the locks that some tab holds. */
  held(): Promise<ReadonlySet<string>>;
}

/** Tells the other tabs something; nothing relies on it. */
export interface Channel {
  post(message: unknown): void;
  close(): void;
}

/** One connection. */
export interface Socket {
  send(frame: Uint8Array<ArrayBuffer>): void;
  close(): void;
}

export interface SocketEvents {
  opened(): void;
  frame(bytes: Uint8Array): void;
  closed(code: number, reason: string): void;
}

/** What happens to the page. */
export interface PageEvents {
  /** It is looked at again, or the network is back. */
  woken(): void;
  /** It goes away, perhaps for ever. */
  hidden(): void;
  /** It is back after `hidden`, with all its objects. */
  shown(): void;
}

export interface Environment {
  readonly databases: IDBFactory;
  readonly locks: Locks;
  openChannel(name: string, received: (message: unknown) => void): Channel;
  openSocket(address: string, events: SocketEvents): Socket;
  /** Text that lives as long as the tab, across reloads. */
  recall(key: string): string | undefined;
  remember(key: string, text: string): void;
  /** Watches the page; gives the way out. */
  watch(events: PageEvents): () => void;
  /** Asks that the data is not evicted; tells whether that is promised. */
  persist(): Promise<boolean | undefined>;
  monotonicMs(): number;
  unixMs(): number;
  random(count: number): Uint8Array;
  after(ms: number, run: () => void): () => void;
}
