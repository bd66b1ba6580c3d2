/** The address names a note that this device does not have. It shows up here if it arrives. */
export function MissingNote({ onBack }: { readonly onBack: () => void }) {
  return (
    <div className="empty-editor">
      <h2>This note is not here</h2>
      <p>It may have been deleted, or it has not reached this device yet.</p>
      <button type="button" className="button" onClick={onBack}>
        Back to the list
      </button>
    </div>
  );
}
