import { useNotes } from "../sync/hooks";
import { Logo } from "./icons";

/** The place of the editor while no note is open. */
export function EmptyEditor() {
  const count = useNotes().length;
  return (
    <div className="empty-editor">
      <Logo size={56} />
      {count === 0 ? (
        <>
          <h2>A quiet place to start</h2>
          <p>
            Press <kbd>n</kbd> to write your first note. It is saved on this device as you type, with
            or without a network.
          </p>
        </>
      ) : (
        <>
          <h2>No note open</h2>
          <p>
            Choose one from the list, or press <kbd>n</kbd> for a new one.
          </p>
        </>
      )}
    </div>
  );
}
