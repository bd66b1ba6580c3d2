import type { KeyboardEvent } from "react";
import type { Version } from "sync-sdk";
import type { NoteFields, TextField } from "../notes/note";
import { useStore } from "../sync/hooks";
import { useSyncedText } from "./useSyncedText";

interface Bound {
  readonly id: string;
  readonly elementId: string;
  readonly versions: readonly Version<NoteFields>[];
  readonly onWrite: (fields: Partial<NoteFields>) => boolean;
}

export function TitleBox({ onEnter, ...bound }: Bound & { readonly onEnter: () => void }) {
  const synced = useField<HTMLInputElement>("title", bound);
  const handleKey = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.nativeEvent.isComposing) return;
    event.preventDefault();
    onEnter();
  };
  return (
    <input
      id={bound.elementId}
      className="title-box"
      type="text"
      aria-label="Title"
      placeholder="Title"
      autoComplete="off"
      onKeyDown={handleKey}
      {...synced}
    />
  );
}

export function BodyBox(bound: Bound) {
  const synced = useField<HTMLTextAreaElement>("body", bound);
  return (
    <textarea
      id={bound.elementId}
      className="body-box"
      aria-label="Body"
      placeholder="Write something…"
      {...synced}
    />
  );
}

function useField<T extends HTMLInputElement | HTMLTextAreaElement>(
  field: TextField,
  { id, versions, onWrite }: Bound,
) {
  const { notes } = useStore();
  return useSyncedText<T>({
    read: () => {
      const note = notes.get(id);
      return note && (note[field] ?? "");
    },
    write: (text) => onWrite({ [field]: text }),
    isVersion: (text) => versions.some((version) => version.fields[field] === text),
  });
}
