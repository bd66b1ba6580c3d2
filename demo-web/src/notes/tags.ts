/** Reads what a person typed: tags between commas, without the space around them. */
export function parseTags(text: string): Set<string> {
  return new Set(
    text
      .split(",")
      .map((tag) => tag.trim())
      .filter((tag) => tag !== ""),
  );
}

export function formatTags(tags: readonly string[]): string {
  return tags.join(", ");
}

/**
 * Applies to `stored` what the person changed between two states of the text box.
 * A tag that somebody else added while the person was typing is therefore kept.
 */
export function editTags(
  stored: ReadonlySet<string>,
  before: ReadonlySet<string>,
  after: ReadonlySet<string>,
): Set<string> {
  const next = new Set(stored);
  for (const tag of before) if (!after.has(tag)) next.delete(tag);
  for (const tag of after) if (!before.has(tag)) next.add(tag);
  return next;
}
