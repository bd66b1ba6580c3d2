import { useClashing, useConflicts } from "../sync/hooks";
import { ConflictItem } from "./ConflictItem";

interface Props {
  readonly onSelect: (id: string) => void;
}

/** What clashed, kept out of the way until somebody wants to know. */
export function ConflictLog({ onSelect }: Props) {
  const entries = useConflicts().filter((entry) => entry.collection === "notes");
  const toChoose = useClashing().size;
  return (
    <details className="fold conflict-log">
      <summary>
        Conflicts <span className="count">{entries.length}</span>
        {toChoose > 0 && <span className="badge conflict">{toChoose} to choose</span>}
      </summary>
      {entries.length === 0 ? (
        <p className="quiet">When two people change the same thing at once, it is kept here.</p>
      ) : (
        <ul className="conflict-entries" role="list" aria-label="Conflicts">
          {[...entries]
            .sort((a, b) => b.seen - a.seen)
            .map((entry) => (
              <ConflictItem key={entry.key} entry={entry} onSelect={onSelect} />
            ))}
        </ul>
      )}
    </details>
  );
}
