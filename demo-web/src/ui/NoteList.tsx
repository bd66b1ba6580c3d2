import { type KeyboardEvent, useCallback } from "react";
import type { Note } from "../notes/note";
import { useClashing } from "../sync/hooks";
import { focusNote } from "./focus";
import { NoteItem } from "./NoteItem";

interface Props {
  readonly notes: readonly Note[];
  readonly selected: string | null;
  readonly onSelect: (id: string) => void;
  /** Goes on into the editor. */
  readonly onOpen: (id: string) => void;
  readonly onDelete: (note: Note) => void;
}

/** One tab stop; arrow keys move within. */
export function NoteList({ notes, selected, onSelect, onOpen, onDelete }: Props) {
  const clashing = useClashing();
  const selectedIsListed = notes.some((note) => note.id === selected);
  const tabStop = selectedIsListed ? selected : notes[0]?.id;

  const handleKey = useCallback(
    (event: KeyboardEvent<HTMLElement>) => {
      const item = (event.target as HTMLElement).closest<HTMLElement>("[data-note-id]");
      const at = notes.findIndex((note) => note.id === item?.dataset["noteId"]);
      const note = notes[at];
      if (!note || event.ctrlKey || event.metaKey || event.altKey) return;

      if (event.key === "Enter") onOpen(note.id);
      else if (event.key === "Delete" || event.key === "Backspace") onDelete(note);
      else {
        const target = notes[targetOf(event.key, at, notes.length)];
        if (!target) return;
        focusNote(target.id);
        onSelect(target.id);
      }
      event.preventDefault();
    },
    [notes, onSelect, onOpen, onDelete],
  );

  return (
    <ul className="note-list" role="list" aria-label="Notes" onKeyDown={handleKey}>
      {notes.map((note) => (
        <NoteItem
          key={note.id}
          note={note}
          isSelected={note.id === selected}
          isTabStop={note.id === tabStop}
          isClashing={clashing.has(note.id)}
          onSelect={onSelect}
        />
      ))}
    </ul>
  );
}

/** Where a key leads from one place in the list; -1 for a key that leads nowhere. */
function targetOf(key: string, at: number, length: number): number {
  if (key === "ArrowDown") return Math.min(at + 1, length - 1);
  if (key === "ArrowUp") return Math.max(at - 1, 0);
  if (key === "Home") return 0;
  if (key === "End") return length - 1;
  return -1;
}
