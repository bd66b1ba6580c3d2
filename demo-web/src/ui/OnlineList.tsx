import { useOnline } from "../sync/hooks";

/** Who is in this document at this moment, this tab first. */
export function OnlineList() {
  const online = useOnline();
  return (
    // Focusable, because it scrolls sideways where it does not fit.
    <ul className="online" role="list" aria-label="Online" tabIndex={0}>
      {online.map((peer) => (
        <li key={peer.replica} className="peer" data-self={peer.self} data-replica={peer.replica} title={peer.name}>
          <span className="peer-dot" data-hue={hueOf(peer.replica)} aria-hidden="true" />
          <span className="peer-name">{peer.name}</span>
          {peer.self && <span className="peer-self"> (you)</span>}
        </li>
      ))}
    </ul>
  );
}

/** One of eight colours, the same on every device. */
function hueOf(replica: string): number {
  let sum = 0;
  for (const digit of replica) sum = (sum * 31 + digit.charCodeAt(0)) % 65521;
  return sum % 8;
}
