export const TITLE_ID = "note-title";
export const BODY_ID = "note-body";
export const SEARCH_ID = "notes-search";
export const EDITOR_ID = "editor";

export function focusById(id: string): void {
  document.getElementById(id)?.focus();
}

/** Moves the focus to a note in the list; false when it is not listed. */
export function focusNote(id: string | null | undefined): boolean {
  if (!id) return false;
  const link = document.querySelector<HTMLElement>(`[data-note-id="${CSS.escape(id)}"] a`);
  link?.focus();
  return link !== null;
}

export function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || target.matches("input, textarea, select"))
  );
}

/** Whether list and editor take turns on the screen; the same width as in the style sheet. */
export function isNarrow(): boolean {
  return matchMedia("(max-width: 720px)").matches;
}
