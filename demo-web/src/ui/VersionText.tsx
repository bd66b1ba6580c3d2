import type { Version } from "sync-sdk";
import type { NoteFields, TextField } from "../notes/note";
import { splitAtDifference } from "../notes/difference";

interface Props {
  readonly field: TextField;
  readonly version: Version<NoteFields>;
  readonly other: Version<NoteFields> | undefined;
}

const LABELS = { title: "Title", body: "Body" } as const;

/** One clashing field of a version, with what differs from the other version marked. */
export function VersionText({ field, version, other }: Props) {
  const text = version.fields[field];
  if (text === undefined) return null;
  const [before, different, after] = splitAtDifference(text, other?.fields[field] ?? "");
  return (
    <div className="version-field">
      <span className="version-label">{LABELS[field]}</span>
      <p className="version-text" data-field={field}>
        {before}
        {different && <mark>{different}</mark>}
        {after}
        {text === "" && <em>empty</em>}
      </p>
    </div>
  );
}
