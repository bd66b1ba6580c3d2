/**
 * Stands in for the package in `app.test.mjs`: one document in memory, and `window.others`, with
 * which a test writes what other replicas would have written. It implements what the app calls,
 * and nothing of how replicas agree.
 */
const SELF = "a".repeat(32);
const OTHER = "b".repeat(32);
const DISK_MS = 10;
const HUB_MS = 40;

const listeners = new Set();
const records = new Map();
const versions = new Map();
let log = [];
let waiting = [];
let offline = false;
let pending = 0;
let unsaved = 0;
let failure;
let made = 0;
let list, status, peers;

function changed() {
  list = [...records.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const connection = offline ? "offline" : "online";
  status = { connection, pending, parked: 0, caughtUp: !offline, unsaved, failure };
  for (const listener of [...listeners]) listener();
}

function write(change) {
  if (failure) throw new Error(failure.message);
  change();
  pending += 1;
  unsaved += 1;
  const disk = after(DISK_MS).then(() => {
    unsaved -= 1;
    changed();
  });
  const hub = new Promise((resolve) => {
    const send = () =>
      after(HUB_MS).then(() => {
        pending -= 1;
        resolve();
        changed();
      });
    if (offline) waiting.push(send);
    else send();
  });
  changed();
  return { disk, hub };
}

function merge(id, fields) {
  records.set(id, { ...records.get(id), ...fields, id });
  if (!versions.get(id)?.some((version) => Object.keys(version.fields).some((field) => field in fields))) return;
  versions.delete(id);
  log = log.map((entry) => (entry.record === id ? { ...entry, open: false } : entry));
}

const notes = {
  name: "notes",
  list: () => list,
  get: (id) => records.get(id),
  insert(fields) {
    const id = String((made += 1)).padStart(6, "0");
    return { id, ...write(() => merge(id, fields)) };
  },
  update: (id, fields) => write(() => merge(id, fields)),
  remove: (id) => write(() => records.delete(id)),
  versions: (id) => versions.get(id) ?? [],
  keep: (id, key) => notes.update(id, versions.get(id).find((version) => version.key === key).fields),
};

export async function openDocument(name, options) {
  if (name === "broken") throw Object.assign(new Error("the file is from a newer version"), { code: "newer" });
  peers = [{ replica: SELF, name: options.name, self: true }];
  changed();
  return {
    name,
    replica: SELF,
    collection: () => notes,
    status: () => status,
    online: () => peers,
    conflicts: () => log,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async setOffline(next) {
      await after(5);
      offline = next;
      if (!offline) for (const send of waiting.splice(0)) send();
      changed();
    },
    isOffline: () => offline,
    close: async () => {},
  };
}

globalThis.others = {
  write(id, fields) {
    merge(id, fields);
    changed();
  },
  addTag: (id, tag) => others.write(id, { tags: new Set([...records.get(id).tags, tag]) }),
  remove(id) {
    records.delete(id);
    changed();
  },
  /** Writes a field without having seen what stands there. */
  clash(id, field, value) {
    const at = Date.now();
    const mine = { [field]: records.get(id)[field] };
    records.set(id, { ...records.get(id), [field]: value });
    versions.set(id, [
      { key: "theirs", author: OTHER, at, fields: { [field]: value }, shown: true },
      { key: "mine", author: SELF, at: at - 1000, fields: mine, shown: false },
    ]);
    const sides = versions.get(id).map(({ author, at, fields }) => ({ author, at, deleted: false, value: fields[field] }));
    log = [{ key: `${id}/${field}`, kind: "fields", collection: "notes", record: id, field, sides, seen: at, open: true }];
    changed();
  },
  fail(message) {
    failure = { code: "full", message };
    changed();
  },
};

globalThis.stored = () => list.map((note) => ({ ...note, tags: [...note.tags].sort() }));

function after(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
