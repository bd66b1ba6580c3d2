import { useProblem, useStatus } from "../sync/hooks";

/** What a person has to know before they write on. Empty on a good day. */
export function Notices() {
  const status = useStatus();
  const problem = useProblem();
  return (
    <div className="notices">
      {status.failure && (
        <p className="notice failure" role="alert">
          <strong>Changes can’t be saved any more.</strong> {status.failure.message}{" "}
          <span className="quiet">({status.failure.code})</span>
        </p>
      )}
      {!status.failure && problem && (
        <p className="notice failure" role="alert">
          <strong>The last change was not taken.</strong> {problem}
        </p>
      )}
      {status.parked > 0 && (
        <p className="notice warning" role="alert">
          The hub refused {status.parked === 1 ? "1 change" : `${status.parked} changes`}.{" "}
          {status.parked === 1 ? "It is" : "They are"} kept on this device.
        </p>
      )}
    </div>
  );
}
