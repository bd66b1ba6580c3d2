/** Shown while the local data is read; the style sheet keeps it invisible for the first moment. */
export function Opening() {
  return (
    <p className="opening" role="status">
      Opening your notes…
    </p>
  );
}
