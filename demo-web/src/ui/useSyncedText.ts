import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef } from "react";
import { replaceText } from "../notes/caret";

type Box = HTMLInputElement | HTMLTextAreaElement;

/** While a person types faster than this, a concurrent version does not take over their text box. */
const HOLD_MS = 2000;

interface Options {
  /** The text as stored at this moment; nothing while there is no such note. */
  readonly read: () => string | undefined;
  /** Stores the text; false when that was not accepted. */
  readonly write: (text: string) => boolean;
  /** Whether this text is one of several versions that stand side by side. */
  readonly isVersion: (text: string) => boolean;
}

/**
 * Binds a text box to a stored text that others change too.
 * The box is not a controlled input: its text is touched only when the stored text differs from
 * what the box last wrote or took over, and never while an input method composes.
 */
export function useSyncedText<T extends Box>({ read, write, isVersion }: Options) {
  const box = useRef<T>(null) as RefObject<T>;
  const known = useRef<string | undefined>(undefined);
  const composing = useRef(false);
  const typedAt = useRef(-Infinity);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const latest = useRef({ read, isVersion });

  const settle = useCallback(() => {
    const element = box.current;
    const { read, isVersion } = latest.current;
    const stored = read();
    if (!element || composing.current || stored === undefined || stored === known.current) return;
    const wait = typedAt.current + HOLD_MS - performance.now();
    if (wait > 0 && document.activeElement === element && isVersion(element.value)) {
      clearTimeout(timer.current);
      timer.current = setTimeout(settle, wait);
      return;
    }
    known.current = stored;
    replaceText(element, stored);
  }, []);

  useLayoutEffect(() => {
    latest.current = { read, isVersion };
    settle();
  });
  useEffect(() => () => clearTimeout(timer.current), []);

  return {
    ref: box,
    onInput: () => {
      typedAt.current = performance.now();
      if (write(box.current.value)) known.current = box.current.value;
    },
    onBlur: () => {
      composing.current = false;
      typedAt.current = -Infinity;
      settle();
    },
    onCompositionStart: () => {
      composing.current = true;
    },
    onCompositionEnd: () => {
      composing.current = false;
      settle();
    },
  };
}
