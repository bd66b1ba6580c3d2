/** A short name for this tab that people can tell apart, kept across reloads of the tab. */
const KEY = "notes.tab-name";

const WORDS = [
  "Alder", "Birch", "Cedar", "Clover", "Fern", "Finch", "Hazel", "Heron",
  "Juniper", "Lark", "Linden", "Maple", "Moss", "Otter", "Plover", "Robin",
  "Rowan", "Sorrel", "Swift", "Tern", "Thistle", "Willow", "Wren", "Yarrow",
] as const;

export function tabName(): string {
  try {
    const kept = sessionStorage.getItem(KEY);
    if (kept) return kept;
    const name = freshName();
    sessionStorage.setItem(KEY, name);
    return name;
  } catch {
    // Storage can be forbidden; a name that changes with each reload does no harm.
    return freshName();
  }
}

function freshName(): string {
  const word = WORDS[Math.floor(Math.random() * WORDS.length)] ?? "Tab";
  const system = operatingSystem(navigator.userAgent);
  return system ? `${word} (${system})` : word;
}

function operatingSystem(agent: string): string | undefined {
  if (/iPhone|iPad/.test(agent)) return "iOS";
  if (/Android/.test(agent)) return "Android";
  if (/Windows/.test(agent)) return "Windows";
  if (/Mac OS X/.test(agent)) return "Mac";
  if (/CrOS/.test(agent)) return "ChromeOS";
  if (/Linux/.test(agent)) return "Linux";
  return undefined;
}
