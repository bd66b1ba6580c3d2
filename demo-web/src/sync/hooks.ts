import { createContext, useContext, useMemo, useSyncExternalStore } from "react";
import type { ConflictEntry, Peer, Status, Version } from "sync-sdk";
import type { Note, NoteFields } from "../notes/note";
import type { Place } from "./safety";
import type { NotesStore } from "./store";

export const StoreContext = createContext<NotesStore | null>(null);

export function useStore(): NotesStore {
  const store = useContext(StoreContext);
  if (!store) throw new Error("useStore outside of StoreContext");
  return store;
}

export function useNotes(): readonly Note[] {
  const { notes, subscribe } = useStore();
  return useSyncExternalStore(subscribe, () => notes.list());
}

export function useNote(id: string): Note | undefined {
  const { notes, subscribe } = useStore();
  return useSyncExternalStore(subscribe, () => notes.get(id));
}

export function useStatus(): Status {
  const { document, subscribe } = useStore();
  return useSyncExternalStore(subscribe, () => document.status());
}

export function useOnline(): readonly Peer[] {
  const { document, subscribe } = useStore();
  return useSyncExternalStore(subscribe, () => document.online());
}

export function useIsOffline(): boolean {
  const { document, subscribe } = useStore();
  return useSyncExternalStore(subscribe, () => document.isOffline());
}

export function useProblem(): string | undefined {
  const { problem, subscribe } = useStore();
  return useSyncExternalStore(subscribe, problem);
}

export function usePlace(id: string): Place | undefined {
  const { safety } = useStore();
  return useSyncExternalStore(safety.subscribe, () => safety.of(id));
}

export function useConflicts(): readonly ConflictEntry[] {
  const { document } = useStore();
  const tick = useTick();
  return useMemo(() => document.conflicts(), [document, tick]);
}

/** The notes that have concurrent versions of a field, by id. */
export function useClashing(): ReadonlySet<string> {
  const conflicts = useConflicts();
  return useMemo(
    () =>
      new Set(
        conflicts
          .filter((entry) => entry.open && entry.kind === "fields" && entry.collection === "notes")
          .map((entry) => entry.record),
      ),
    [conflicts],
  );
}

export function useVersions(id: string): readonly Version<NoteFields>[] {
  const { notes } = useStore();
  const tick = useTick();
  return useMemo(() => notes.versions(id), [notes, id, tick]);
}

function useTick(): number {
  const { tick, subscribe } = useStore();
  return useSyncExternalStore(subscribe, tick);
}
