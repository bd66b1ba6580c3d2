interface Props {
  readonly onRestore: () => void;
  readonly onClose: () => void;
}

/** The open note is gone. The text is still in the boxes below. */
export function DeletedNotice({ onRestore, onClose }: Props) {
  return (
    <div className="card deleted" role="status">
      <p>
        <strong>This note was deleted somewhere else.</strong> Its text is still here. Write on, or
        restore it, and it becomes a new note.
      </p>
      <div className="card-actions">
        <button type="button" className="button" onClick={onRestore}>
          Restore
        </button>
        <button type="button" className="button quiet-button" onClick={onClose}>
          Close
        </button>
      </div>
    </div>
  );
}
