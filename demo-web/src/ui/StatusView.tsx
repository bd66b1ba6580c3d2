import type { Status } from "sync-sdk";
import { useStatus } from "../sync/hooks";

/** The connection in one word, and beside it how much the hub has. */
export function StatusView() {
  const status = useStatus();
  return (
    <div className="status" title={status.reason}>
      <span
        className="status-pill"
        role="status"
        data-testid="status"
        data-pending={status.pending}
        data-connection={status.connection}
      >
        {status.connection}
      </span>
      <span className="status-detail" data-waiting={status.pending > 0}>
        {detailOf(status)}
      </span>
    </div>
  );
}

function detailOf(status: Status): string {
  const { connection, pending, unsaved, caughtUp } = status;
  if (unsaved > 0) return "saving…";
  if (pending > 0) {
    const changes = pending === 1 ? "1 change" : `${pending} changes`;
    return connection === "online" ? `sending ${changes}` : `${changes} pending`;
  }
  if (connection === "online") return caughtUp ? "everything on the hub" : "catching up…";
  return "nothing pending";
}
