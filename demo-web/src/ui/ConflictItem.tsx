import type { ConflictEntry, Field } from "sync-sdk";
import { UNTITLED } from "../notes/note";
import { formatTime, useAuthorName } from "../sync/authors";
import { useNote } from "../sync/hooks";

interface Props {
  readonly entry: ConflictEntry;
  readonly onSelect: (id: string) => void;
}

type Side = ConflictEntry["sides"][number];

export function ConflictItem({ entry, onSelect }: Props) {
  const note = useNote(entry.record);
  const authorName = useAuthorName();
  // The versions of an open conflict are shown with the note itself.
  const standsInEditor = note !== undefined && entry.open && entry.kind === "fields";
  const title = note?.title?.trim() || UNTITLED;
  return (
    <li className="conflict-entry" data-kind={entry.kind} data-open={entry.open}>
      <p className="conflict-head">
        {note ? (
          <button type="button" className="link" onClick={() => onSelect(note.id)}>
            {title}
          </button>
        ) : (
          <span>A deleted note</span>
        )}
        <time dateTime={new Date(entry.seen).toISOString()}>{formatTime(entry.seen)}</time>
      </p>
      <p className="quiet">{summaryOf(entry, note !== undefined)}</p>
      {!standsInEditor && (
        <ul className="conflict-sides" role="list">
          {entry.sides.map((side, index) => (
            <li key={index}>
              <span className="conflict-author">{authorName(side.author)}</span> {textOf(side)}
            </li>
          ))}
        </ul>
      )}
    </li>
  );
}

function summaryOf(entry: ConflictEntry, exists: boolean): string {
  if (entry.kind === "edit-delete") {
    return exists
      ? "Edited in one place and deleted in another. The note was kept."
      : "Edited in one place and deleted in another.";
  }
  const what = entry.field ? `The ${entry.field}` : "A field";
  return entry.open
    ? `${what} was changed in several places at once. Open the note to choose.`
    : `${what} was changed in several places at once. One version was chosen.`;
}

function textOf(side: Side): string {
  if (side.deleted) return "deleted it";
  return side.value === undefined ? "edited it" : `wrote “${printed(side.value)}”`;
}

/** A value in words; only texts and sets of them are expected in a note. */
function printed(value: Field): string {
  if (typeof value === "string") return value;
  if (value instanceof Set) return [...value].map(String).join(", ");
  return String(value);
}
