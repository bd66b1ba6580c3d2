import { type KeyboardEvent, useState } from "react";
import { contentOf, type Note, type NoteFields } from "../notes/note";
import { useNote, useStore, useVersions } from "../sync/hooks";
import { DeletedNotice } from "./DeletedNotice";
import { EditorFooter } from "./EditorFooter";
import { BODY_ID, EDITOR_ID, focusById, TITLE_ID } from "./focus";
import { BackIcon, TrashIcon } from "./icons";
import { MissingNote } from "./MissingNote";
import { TagsBox } from "./TagsBox";
import { BodyBox, TitleBox } from "./TextBoxes";
import { Versions } from "./Versions";

interface Props {
  readonly id: string;
  readonly onDelete: (note: Note) => void;
  /** The note goes on under this id. */
  readonly onFollow: (id: string) => void;
  readonly onClose: () => void;
  readonly onBack: () => void;
}

/**
 * One note. When somebody else deletes it, its text stays here, and whatever is typed from then on
 * goes into a new note with the same content.
 */
export function Editor({ id, onDelete, onFollow, onClose, onBack }: Props) {
  const store = useStore();
  const note = useNote(id);
  const versions = useVersions(id);
  const [last, setLast] = useState(note);
  if (note && note !== last) setLast(note);

  const continueAsNew = (fields: Partial<NoteFields>): boolean => {
    const created = store.create({ ...contentOf(last), ...fields });
    if (!created) return false;
    onFollow(created);
    return true;
  };
  const write = (fields: Partial<NoteFields>): boolean =>
    store.notes.get(id) ? store.edit(id, fields) : continueAsNew(fields);

  const handleKey = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || event.nativeEvent.isComposing) return;
    event.preventDefault();
    onBack();
  };

  const shown = note ?? last;
  if (!shown) return <MissingNote onBack={onClose} />;
  const bound = { id, versions, onWrite: write };
  return (
    <article className="editor" id={EDITOR_ID} tabIndex={-1} aria-label="Note" onKeyDown={handleKey}>
      <div className="editor-bar">
        <button type="button" className="button icon-button back" aria-label="Back" onClick={onBack}>
          <BackIcon />
        </button>
        <TagsBox {...bound} />
        <button
          type="button"
          className="button icon-button"
          aria-label="Delete note"
          title="Delete note"
          disabled={!note}
          onClick={() => note && onDelete(note)}
        >
          <TrashIcon />
        </button>
      </div>
      {!note && <DeletedNotice onRestore={() => continueAsNew({})} onClose={onClose} />}
      <Versions
        versions={versions}
        onKeep={(version) => {
          if (store.keep(id, version)) focusById(EDITOR_ID);
        }}
      />
      <TitleBox elementId={TITLE_ID} onEnter={() => focusById(BODY_ID)} {...bound} />
      <BodyBox elementId={BODY_ID} {...bound} />
      {note && <EditorFooter id={id} />}
    </article>
  );
}
