import { type MouseEvent, memo } from "react";
import { addressOfNote } from "../address";
import { type Note, snippetOf, sortedTags, UNTITLED } from "../notes/note";

interface Props {
  readonly note: Note;
  readonly isSelected: boolean;
  readonly isTabStop: boolean;
  readonly isClashing: boolean;
  readonly onSelect: (id: string) => void;
}

/** A link, so that a note can be opened in another tab, which is a replica of its own. */
export const NoteItem = memo(function NoteItem(props: Props) {
  const { note, isSelected, isTabStop, isClashing, onSelect } = props;
  const tags = sortedTags(note.tags);

  const open = (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    onSelect(note.id);
  };

  return (
    <li
      className="note-item"
      role="listitem"
      data-note-id={note.id}
      data-conflict={isClashing}
      data-selected={isSelected}
    >
      <a
        href={addressOfNote(note.id)}
        draggable={false}
        tabIndex={isTabStop ? 0 : -1}
        aria-current={isSelected ? "true" : undefined}
        onClick={open}
      >
        <span className="note-item-head">
          <span className="note-item-title">{note.title?.trim() || UNTITLED}</span>
          {isClashing && <span className="badge conflict">conflict</span>}
        </span>
        <span className="note-item-snippet">{snippetOf(note)}</span>
        {tags.length > 0 && (
          <span className="note-item-tags">
            {tags.map((tag) => (
              <span key={tag} className="tag">
                {tag}
              </span>
            ))}
          </span>
        )}
      </a>
    </li>
  );
});
