import { useCallback, useMemo, useState } from "react";
import { flushSync } from "react-dom";
import type { Address } from "../address";
import { contentOf, type Note, type NoteFields, search } from "../notes/note";
import { useNotes, useStore } from "../sync/hooks";
import { Editor } from "./Editor";
import { EmptyEditor } from "./EmptyEditor";
import { focusById, focusNote, isNarrow, SEARCH_ID, TITLE_ID } from "./focus";
import { Header } from "./Header";
import { Notices } from "./Notices";
import { Sidebar } from "./Sidebar";
import { UndoToast } from "./UndoToast";
import { useSelection } from "./useSelection";
import { useShortcuts } from "./useShortcuts";

export function App({ address }: { readonly address: Address }) {
  const store = useStore();
  const notes = useNotes();
  const { selection, select, follow } = useSelection();
  const [query, setQuery] = useState("");
  const [deleted, setDeleted] = useState<NoteFields | null>(null);

  const newestFirst = useMemo(() => [...notes].reverse(), [notes]);
  const listed = useMemo(() => search(newestFirst, query), [newestFirst, query]);

  const createNote = useCallback(() => {
    const id = store.create();
    if (!id) return;
    flushSync(() => {
      setQuery("");
      select(id);
    });
    focusById(TITLE_ID);
  }, [store, select]);

  const deleteNote = useCallback(
    (note: Note) => {
      const at = listed.findIndex((other) => other.id === note.id);
      const neighbour = at < 0 ? undefined : (listed[at + 1] ?? listed[at - 1]);
      const next = isNarrow() ? null : (neighbour?.id ?? null);
      flushSync(() => {
        if (!store.remove(note)) return;
        setDeleted(contentOf(note));
        select(next);
      });
      if (!focusNote(neighbour?.id)) focusById(SEARCH_ID);
    },
    [store, listed, select],
  );

  const undoDelete = useCallback(() => {
    if (!deleted) return;
    const id = store.create(deleted);
    if (!id) return;
    flushSync(() => {
      setDeleted(null);
      select(id);
    });
    focusNote(id);
  }, [store, deleted, select]);

  const showList = useCallback(() => {
    const from = selection.id;
    if (isNarrow()) flushSync(() => select(null));
    if (!focusNote(from)) focusById(SEARCH_ID);
  }, [selection.id, select]);

  useShortcuts({ createNote, undoDelete });

  return (
    <div className="app" data-view={selection.id === null ? "list" : "note"}>
      <Header address={address} />
      <Notices />
      <main className="panes">
        <Sidebar
          notes={listed}
          total={notes.length}
          selected={selection.id}
          query={query}
          onQuery={setQuery}
          onSelect={select}
          onCreate={createNote}
          onDelete={deleteNote}
        />
        <div className="pane editor-pane">
          {selection.id === null ? (
            <EmptyEditor />
          ) : (
            <Editor
              key={selection.visit}
              id={selection.id}
              onDelete={deleteNote}
              onFollow={follow}
              onClose={() => select(null)}
              onBack={showList}
            />
          )}
        </div>
      </main>
      {deleted && <UndoToast onUndo={undoDelete} onGone={() => setDeleted(null)} />}
    </div>
  );
}
