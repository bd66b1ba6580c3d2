import { useState } from "react";
import { useIsOffline, useStore } from "../sync/hooks";

/** Cuts this tab off from the hub and from the other tabs, and joins it again. */
export function OfflineSwitch() {
  const { document } = useStore();
  const isOffline = useIsOffline();
  const [wanted, setWanted] = useState<boolean | null>(null);
  const checked = wanted ?? isOffline;

  const toggle = () => {
    const next = !checked;
    setWanted(next);
    // The document says where it ended up, whether or not this went well.
    const settle = () => setWanted((now) => (now === next ? null : now));
    document.setOffline(next).then(settle, settle);
  };

  return (
    <button type="button" className="switch" role="switch" aria-checked={checked} onClick={toggle}>
      <span>Offline</span>
      <span className="switch-track" aria-hidden="true" />
    </button>
  );
}
