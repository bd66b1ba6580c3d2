/** The environment of a browser's page. */
import type { Channel, Environment, Locks, PageEvents, Release, Socket, SocketEvents } from "./environment.js";
import { SyncError } from "./errors.js";

/** The surroundings of this page. Fails, with the reason, where something is missing. */
export function browser(): Environment {
  const missing = [
    typeof document === "undefined" && "page",
    typeof indexedDB === "undefined" && "IndexedDB",
    (typeof navigator === "undefined" || navigator.locks === undefined) && "Web Locks",
    typeof BroadcastChannel === "undefined" && "BroadcastChannel",
    typeof crypto === "undefined" && "crypto",
  ].filter((name) => name !== false);
  if (missing.length > 0) {
    throw new SyncError(
      "unsupported",
      `Documents are opened in a browser's page, on https or localhost; here is no ${missing.join(", no ")}.`,
    );
  }
  return {
    databases: indexedDB,
    locks: webLocks(navigator.locks),
    openChannel,
    openSocket,
    recall: (key) => forgiving(() => sessionStorage.getItem(key) ?? undefined),
    remember: (key, text) => forgiving(() => sessionStorage.setItem(key, text)),
    watch,
    persist: persistent,
    monotonicMs: () => performance.now(),
    unixMs: () => Date.now(),
    random: (count) => crypto.getRandomValues(new Uint8Array(count)),
    after(ms, run) {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
  };
}

function webLocks(manager: LockManager): Locks {
  const request = (name: string, options: LockOptions): Promise<Release | undefined> =>
    new Promise((resolve, reject) => {
      manager
        .request(name, options, (lock) => {
          if (lock === null) {
            resolve(undefined);
            return undefined;
          }
          return new Promise<void>((release) => resolve(release));
        })
        .catch(reject);
    });
  return {
    tryTake: (name) => request(name, { ifAvailable: true }),
    async take(name, signal) {
      const release = await request(name, { signal });
      if (release === undefined) throw new SyncError("lock", "the lock was not given");
      return release;
    },
    async held() {
      const { held = [] } = await manager.query();
      return new Set(held.map((lock) => lock.name ?? ""));
    },
  };
}

function openChannel(name: string, received: (message: unknown) => void): Channel {
  const channel = new BroadcastChannel(name);
  channel.onmessage = (event) => received(event.data);
  return { post: (message) => channel.postMessage(message), close: () => channel.close() };
}

function openSocket(address: string, events: SocketEvents): Socket {
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => events.opened();
  socket.onmessage = (event: MessageEvent<unknown>) => {
    if (event.data instanceof ArrayBuffer) events.frame(new Uint8Array(event.data));
  };
  socket.onclose = (event) => events.closed(event.code, event.reason);
  return {
    send(frame) {
      if (socket.readyState === WebSocket.OPEN) socket.send(frame);
    },
    close() {
      // A connection that is dead may take long to close; nobody waits for it.
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
}

function watch(events: PageEvents): () => void {
  const visible = (): void => {
    if (document.visibilityState === "visible") events.woken();
  };
  const shown = (event: PageTransitionEvent): void => {
    if (event.persisted) events.shown();
    else events.woken();
  };
  const stop = new AbortController();
  const { signal } = stop;
  document.addEventListener("visibilitychange", visible, { signal });
  addEventListener("online", () => events.woken(), { signal });
  addEventListener("pageshow", shown, { signal });
  addEventListener("pagehide", () => events.hidden(), { signal });
  return () => stop.abort();
}

let asked: Promise<boolean | undefined> | undefined;

/** Asks once for each page: some browsers ask the person. */
function persistent(): Promise<boolean | undefined> {
  asked ??= askPersistent();
  return asked;
}

async function askPersistent(): Promise<boolean | undefined> {
  try {
    return (await navigator.storage.persisted()) || (await navigator.storage.persist());
  } catch {
    return undefined;
  }
}

/** The tab's own storage can be forbidden; what it remembers is a convenience. */
function forgiving<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch {
    return undefined;
  }
}
