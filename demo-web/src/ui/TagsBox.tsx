import { useLayoutEffect, useRef } from "react";
import { sortedTags, type NoteFields } from "../notes/note";
import { editTags, formatTags, parseTags } from "../notes/tags";
import { useStore } from "../sync/hooks";
import { TagIcon } from "./icons";

interface Props {
  readonly id: string;
  readonly onWrite: (fields: Partial<NoteFields>) => boolean;
}

/** Tags as text with commas. The text stays as typed while the box has the focus. */
export function TagsBox({ id, onWrite }: Props) {
  const { notes } = useStore();
  const box = useRef<HTMLInputElement>(null);
  /** What the box said when it was last written or taken over. */
  const known = useRef<ReadonlySet<string>>(new Set());

  const settle = () => {
    const note = notes.get(id);
    if (!box.current || !note || document.activeElement === box.current) return;
    known.current = new Set(note.tags);
    const text = formatTags(sortedTags(note.tags));
    if (box.current.value !== text) box.current.value = text;
  };
  useLayoutEffect(settle);

  const write = () => {
    const typed = parseTags(box.current?.value ?? "");
    const stored = notes.get(id)?.tags ?? known.current;
    if (onWrite({ tags: editTags(stored, known.current, typed) })) known.current = typed;
  };

  return (
    <label className="tags-box">
      <TagIcon />
      <input
        ref={box}
        type="text"
        aria-label="Tags"
        placeholder="Tags, with commas between"
        autoComplete="off"
        autoCapitalize="none"
        onInput={write}
        onBlur={settle}
      />
    </label>
  );
}
