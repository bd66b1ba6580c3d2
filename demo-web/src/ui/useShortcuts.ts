import { useEffect } from "react";
import { focusById, isTyping, SEARCH_ID } from "./focus";

interface Actions {
  readonly createNote: () => void;
  readonly undoDelete: () => void;
}

/** Keys that work anywhere outside of a text box: `n`, `/` and undo of a deleted note. */
export function useShortcuts({ createNote, undoDelete }: Actions): void {
  useEffect(() => {
    const handle = (event: KeyboardEvent) => {
      if (event.defaultPrevented || isTyping(event.target)) return;
      const key = event.key.toLowerCase();
      const command = event.ctrlKey || event.metaKey;
      if (key === "z" && command && !event.shiftKey) undoDelete();
      else if (command || event.altKey) return;
      else if (key === "n") createNote();
      else if (key === "/") focusById(SEARCH_ID);
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", handle);
    return () => removeEventListener("keydown", handle);
  }, [createNote, undoDelete]);
}
