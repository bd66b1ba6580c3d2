import type { Note } from "../notes/note";
import { ConflictLog } from "./ConflictLog";
import { Copies } from "./Copies";
import { focusById, focusNote, TITLE_ID } from "./focus";
import { PlusIcon } from "./icons";
import { NoteList } from "./NoteList";
import { SearchBox } from "./SearchBox";

interface Props {
  readonly notes: readonly Note[];
  readonly total: number;
  readonly selected: string | null;
  readonly query: string;
  readonly onQuery: (query: string) => void;
  readonly onSelect: (id: string) => void;
  readonly onCreate: () => void;
  readonly onDelete: (note: Note) => void;
}

export function Sidebar(props: Props) {
  const { notes, total, selected, query } = props;
  const intoList = () => {
    if (focusNote(selected)) return;
    focusNote(notes[0]?.id);
  };
  return (
    <nav className="pane sidebar" aria-label="All notes">
      <div className="sidebar-top">
        <SearchBox
          query={query}
          onQuery={props.onQuery}
          onLeave={intoList}
          found={query.trim() === "" ? undefined : notes.length}
        />
        <button
          type="button"
          className="button primary icon-button"
          aria-label="New note"
          title="New note (n)"
          onClick={props.onCreate}
        >
          <PlusIcon />
        </button>
      </div>
      <NoteList
        notes={notes}
        selected={selected}
        onSelect={props.onSelect}
        onOpen={(id) => {
          props.onSelect(id);
          requestAnimationFrame(() => focusById(TITLE_ID));
        }}
        onDelete={props.onDelete}
      />
      {notes.length === 0 && <EmptyList searching={total > 0} />}
      <footer className="sidebar-bottom">
        <ConflictLog onSelect={props.onSelect} />
        <Copies />
        <p className="keys">
          <kbd>n</kbd> new <kbd>↑</kbd>
          <kbd>↓</kbd> move <kbd>/</kbd> search <kbd>Del</kbd> delete
        </p>
      </footer>
    </nav>
  );
}

function EmptyList({ searching }: { readonly searching: boolean }) {
  return (
    <p className="empty-list">
      {searching ? "No note matches." : "No notes yet. The + above makes the first one."}
    </p>
  );
}
