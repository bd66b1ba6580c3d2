import { useEffect, useState } from "react";

const SHOWN_MS = 8000;

interface Props {
  readonly onUndo: () => void;
  readonly onGone: () => void;
}

/** Goes away by itself, but not while a person points at it or has it focused. */
export function UndoToast({ onUndo, onGone }: Props) {
  const [held, setHeld] = useState(false);
  useEffect(() => {
    if (held) return;
    const timer = setTimeout(onGone, SHOWN_MS);
    return () => clearTimeout(timer);
    // The time starts anew only when it is let go, not with each render of the app.
  }, [held]);
  return (
    <div
      className="toast"
      aria-live="polite"
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      onFocus={() => setHeld(true)}
      onBlur={() => setHeld(false)}
    >
      <span>Note deleted</span>
      <button type="button" className="button quiet-button" onClick={onUndo}>
        Undo
      </button>
    </div>
  );
}
