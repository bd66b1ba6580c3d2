/** How many characters on each side of the caret are looked for, most telling first; arbitrary. */
const REACHES = [32, 8, 3] as const;

/**
 * Where a position in `before` lies after the text became `after`: exact where the texts differ in
 * one place beside it, else beside the same characters, wherever these are nearest.
 */
export function movePosition(before: string, after: string, position: number): number {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < shorter - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;

  if (position <= start) return position;
  if (position >= before.length - end) return position + after.length - before.length;
  for (const reach of REACHES) {
    const from = Math.max(0, position - reach);
    const found = nearest(after, before.slice(from, position + reach), from);
    if (found !== undefined) return found + position - from;
  }
  return Math.min(position, after.length - end);
}

/** The place where `part` stands in `text` that is nearest to `wanted`. */
function nearest(text: string, part: string, wanted: number): number | undefined {
  const right = text.indexOf(part, wanted);
  const left = text.lastIndexOf(part, wanted);
  if (left < 0 || right < 0) return left < 0 && right < 0 ? undefined : Math.max(left, right);
  return wanted - left < right - wanted ? left : right;
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
