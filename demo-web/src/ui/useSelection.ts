import { useCallback, useEffect, useState } from "react";
import { addressOfNote, noteInAddress } from "../address";

export interface Selection {
  readonly id: string | null;
  /** Changes when the person goes to another note, not when a note continues under a new id. */
  readonly visit: number;
}

/** Which note is open. It stands in the address, so a reload or the back button finds it. */
export function useSelection() {
  const [selection, setSelection] = useState<Selection>(() => ({
    id: noteInAddress(location),
    visit: 0,
  }));

  useEffect(() => {
    const read = () => {
      const id = noteInAddress(location);
      setSelection((now) => (now.id === id ? now : { id, visit: now.visit + 1 }));
    };
    addEventListener("popstate", read);
    return () => removeEventListener("popstate", read);
  }, []);

  const select = useCallback((id: string | null) => {
    const from = noteInAddress(location);
    if (from !== id) {
      // One step of history leads back to the list, however many notes were visited.
      if (from === null) history.pushState(null, "", addressOfNote(id));
      else history.replaceState(null, "", addressOfNote(id));
    }
    setSelection((now) => (now.id === id ? now : { id, visit: now.visit + 1 }));
  }, []);

  /** The open note continues under another id: what is being typed stays where it is. */
  const follow = useCallback((id: string) => {
    history.replaceState(null, "", addressOfNote(id));
    setSelection((now) => ({ id, visit: now.visit }));
  }, []);

  return { selection, select, follow };
}
