/** Where a position in `before` lies after the text became `after`, when it changed in one place. */
export function movePosition(before: string, after: string, position: number): number {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < shorter - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;

  if (position <= start) return position;
  if (position >= before.length - end) return position + after.length - before.length;
  return Math.min(position, after.length - end);
}

/** Replaces the text of a box and leaves the caret beside the same characters. */
export function replaceText(box: HTMLInputElement | HTMLTextAreaElement, text: string): void {
  const before = box.value;
  if (before === text) return;
  const { selectionStart, selectionEnd, selectionDirection, scrollTop } = box;
  box.value = text;
  if (document.activeElement !== box) return;
  box.setSelectionRange(
    movePosition(before, box.value, selectionStart ?? 0),
    movePosition(before, box.value, selectionEnd ?? 0),
    selectionDirection ?? "none",
  );
  box.scrollTop = scrollTop;
}
