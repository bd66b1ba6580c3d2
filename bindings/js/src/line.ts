/** The connection to the hub: opened, kept, given up when silent, and tried again. */
import type { Engine } from "./engine.js";
import type { Environment, Socket } from "./environment.js";
import { SyncError } from "./errors.js";
import type { Connection } from "./types.js";

/** How long a connection may take until the hub's welcome. Arbitrary. */
const WELCOME_MS_MAX = 10_000;

/** Close codes after which trying again is of no use until a person acts; see `docs/protocol.md`. */
const FINAL_CODES = new Set([4401, 4403, 4406]);

/** The address of the hub's socket. */
export function socketAddress(hub: string): string {
  let address: URL;
  try {
    address = new URL(hub);
  } catch {
    throw new SyncError("bad-hub", `"${hub}" is no address of a hub; one looks like wss://hub.example`);
  }
  address.protocol = address.protocol.replace(/^http/, "ws");
  if (address.protocol !== "ws:" && address.protocol !== "wss:") {
    throw new SyncError("bad-hub", `"${hub}" is no address of a hub: it starts with ws, wss, http or https`);
  }
  address.hash = "";
  address.pathname = `${address.pathname.replace(/\/+$/, "")}/sync`;
  return address.href;
}

export class Line {
  connection: Connection = "connecting";
  reason: string | undefined;
  readonly #environment: Environment;
  readonly #engine: Engine;
  readonly #address: string;
  /** Called before the core says hello. */
  readonly #opened: () => void;
  #isWanted = false;
  #isFinal = false;
  #socket: Socket | undefined;
  #stopDeadline: () => void = () => {};
  #stopTimeout: () => void = () => {};
  #stopRetry: (() => void) | undefined;
  /** Since when the present connection is of use, by the monotonic clock. */
  #liveSince: number | undefined;

  constructor(environment: Environment, engine: Engine, address: string, opened: () => void) {
    this.#environment = environment;
    this.#engine = engine;
    this.#address = address;
    this.#opened = opened;
  }

  open(): void {
    this.#isWanted = true;
    this.#isFinal = false;
    this.#show("connecting");
    this.#connect();
  }

  close(): void {
    this.#isWanted = false;
    this.#stopRetry?.();
    this.#stopRetry = undefined;
    this.#drop();
  }

  /** Tries at once, where it waits for the next attempt. */
  hurry(): void {
    if (this.#stopRetry === undefined) return;
    this.#stopRetry();
    this.#stopRetry = undefined;
    this.#connect();
  }

  send(frame: Uint8Array<ArrayBuffer>): void {
    this.#socket?.send(frame);
  }

  welcomed(): void {
    this.#stopDeadline();
    this.#show("online");
  }

  /** Ends the connection, where there is one, and makes another at once. */
  reopen(reason: string): void {
    if (!this.#socket) return;
    this.retry(reason);
    this.hurry();
  }

  /** Ends the connection and tries again later. */
  retry(reason: string): void {
    if (!this.#isWanted) return;
    const liveMs = this.#liveSince === undefined ? 0 : this.#environment.monotonicMs() - this.#liveSince;
    this.#drop();
    this.#show("connecting", reason);
    const wait = this.#engine.kernel.call((handle) => {
      const random = new DataView(this.#environment.random(4).buffer).getUint32(0);
      return handle.backoff(liveMs, random);
    });
    this.#stopRetry ??= this.#environment.after(wait, () => {
      this.#stopRetry = undefined;
      this.#connect();
    });
  }

  #connect(): void {
    if (!this.#isWanted || this.#isFinal || this.#socket || this.#engine.failure) return;
    const own = (run: () => void) => (): void => {
      if (this.#socket === socket) run();
    };
    let socket: Socket | undefined;
    try {
      socket = this.#environment.openSocket(this.#address, {
        opened: () => own(() => this.#greet())(),
        frame: (bytes) => own(() => this.#receive(bytes))(),
        closed: (code, reason) => own(() => this.#closed(code, reason))(),
      });
    } catch (error) {
      this.#isFinal = true;
      this.#show("offline", `This page may not connect to ${this.#address}: ${String(error)}`);
      return;
    }
    this.#socket = socket;
    this.#stopDeadline = this.#environment.after(
      WELCOME_MS_MAX,
      own(() => this.retry("The hub does not answer.")),
    );
  }

  #greet(): void {
    this.#opened();
    this.#engine.drive((kernel, { monotonic, unix }) => kernel.call((handle) => handle.connected(monotonic, unix)));
    this.#arm();
  }

  #receive(bytes: Uint8Array): void {
    this.#engine.drive((kernel, { monotonic, unix }) => {
      kernel.call((handle) => handle.frame(monotonic, unix, bytes));
      if (kernel.isLive()) this.#liveSince ??= monotonic;
    });
    this.#arm();
  }

  #closed(code: number, reason: string): void {
    if (FINAL_CODES.has(code)) {
      this.#isFinal = true;
      this.#drop();
      this.#show("offline", `The hub refused this connection: ${reason || `code ${code}`}.`);
      return;
    }
    const why = reason ? `The hub closed the connection: ${reason}.` : "The hub cannot be reached.";
    this.retry(why);
  }

  /** Sets the timer for what the core waits for. */
  #arm(): void {
    this.#stopTimeout();
    if (!this.#socket || this.#engine.failure) return;
    const due = this.#engine.kernel.call((handle) => handle.poll_timeout());
    if (due === undefined) return;
    const wait = Math.max(0, due - this.#environment.monotonicMs());
    // One millisecond later, since timers and clocks are rounded.
    this.#stopTimeout = this.#environment.after(wait + 1, () => {
      this.#engine.drive((kernel, { monotonic, unix }) => kernel.call((handle) => handle.timeout(monotonic, unix)));
      this.#arm();
    });
  }

  #drop(): void {
    this.#stopDeadline();
    this.#stopTimeout();
    this.#liveSince = undefined;
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = undefined;
    socket.close();
    this.#engine.drive((kernel, { monotonic, unix }) => kernel.call((handle) => handle.disconnected(monotonic, unix)));
  }

  #show(connection: Connection, reason?: string): void {
    this.connection = connection;
    this.reason = reason;
    this.#engine.events.shown();
  }
}
