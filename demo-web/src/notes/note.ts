import type { Stored } from "sync-sdk";

/** The fields of a note, the same for every client of the document. */
export type NoteFields = {
  title: string;
  body: string;
  tags: ReadonlySet<string>;
};

/** A note as read. A client of another make may have left fields out. */
export type Note = Stored<NoteFields>;

export type TextField = "title" | "body";

export const UNTITLED = "Untitled";

const SNIPPET_CHARS_MAX = 160;

/** The content without the id, with nothing missing. */
export function contentOf(note: Note | undefined): NoteFields {
  return {
    title: note?.title ?? "",
    body: note?.body ?? "",
    tags: new Set(note?.tags),
  };
}

export function snippetOf(note: Note): string {
  const text = (note.body ?? "").slice(0, 4 * SNIPPET_CHARS_MAX).replace(/\s+/g, " ").trim();
  return text.length > SNIPPET_CHARS_MAX ? `${text.slice(0, SNIPPET_CHARS_MAX).trimEnd()}…` : text;
}

/** Tags in an order that is the same on every device, whatever the order they arrived in. */
export function sortedTags(tags: ReadonlySet<string> | undefined): string[] {
  return [...(tags ?? [])].sort();
}

/**
 * Notes that have every word of the query in the title, the body or a tag.
 * A word that starts with `#` is looked for among the tags only.
 */
export function search(notes: readonly Note[], query: string): readonly Note[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return notes;
  return notes.filter((note) => {
    const tags = sortedTags(note.tags).join("\n").toLowerCase();
    const text = `${note.title ?? ""}\n${note.body ?? ""}`.toLowerCase();
    return words.every((word) =>
      word.startsWith("#") && word.length > 1
        ? tags.includes(word.slice(1)) || text.includes(word)
        : tags.includes(word) || text.includes(word),
    );
  });
}
