import type { Status } from "sync-sdk";
import { usePlace, useStatus } from "../sync/hooks";
import type { Place } from "../sync/safety";

/** Where this note is safe. Says no more than the package has promised. */
export function EditorFooter({ id }: { readonly id: string }) {
  const place = usePlace(id);
  const status = useStatus();
  const [level, text] = describe(place, status);
  return (
    <footer className="editor-footer" data-level={level}>
      <span className="safety">
        <span className="safety-mark" aria-hidden="true" />
        {text}
      </span>
      {status.persistent === false && (
        <span className="quiet">The browser may clear this device’s copy when space is short.</span>
      )}
    </footer>
  );
}

type Level = "working" | "local" | "safe" | "bad";

function describe(place: Place | undefined, status: Status): readonly [Level, string] {
  switch (place) {
    case "memory":
      return ["working", "Saving on this device…"];
    case "lost":
      return ["bad", "Not saved on this device"];
    case "refused":
      return ["bad", "Refused by the hub, kept on this device"];
    case "hub":
      return ["safe", "Saved on this device and on the hub"];
    case "disk":
      return ["local", `Saved on this device, ${whenOnHub(status)}`];
    case undefined:
      // This tab has not touched the note: only the whole document can be spoken for.
      return status.pending === 0 && status.caughtUp
        ? ["safe", "Saved on this device and on the hub"]
        : ["local", "Saved on this device"];
  }
}

function whenOnHub({ connection }: Status): string {
  if (connection === "online") return "on its way to the hub";
  if (connection === "offline") return "goes to the hub when you are online";
  return "goes to the hub once it answers";
}
