/**
 * Splits a text into what it shares with another at its start, what differs, and what they share at
 * the end. Cuts between words, so that a mark never covers half of one.
 */
export function splitAtDifference(text: string, other: string): readonly [string, string, string] {
  if (text === other) return [text, "", ""];
  const words = text.match(/\s+|\S+/g) ?? [];
  const others = other.match(/\s+|\S+/g) ?? [];
  const shorter = Math.min(words.length, others.length);
  let start = 0;
  while (start < shorter && words[start] === others[start]) start += 1;
  let end = 0;
  while (end < shorter - start && words.at(-1 - end) === others.at(-1 - end)) end += 1;
  const join = (from: number, to: number) => words.slice(from, to).join("");
  return [
    join(0, start),
    join(start, words.length - end),
    join(words.length - end, words.length),
  ];
}
