import type { Version } from "sync-sdk";
import type { NoteFields } from "../notes/note";
import { formatTime, useAuthorName } from "../sync/authors";
import { VersionText } from "./VersionText";

interface Props {
  readonly versions: readonly Version<NoteFields>[];
  readonly onKeep: (version: string) => void;
}

/** All versions of a note that was changed in several places at once; one click chooses. */
export function Versions({ versions, onKeep }: Props) {
  const authorName = useAuthorName();
  const first = versions[0];
  if (!first) return null;
  return (
    <section className="card versions" aria-label="Versions">
      <h2>Changed in {versions.length} places at once</h2>
      <p className="quiet">Nothing is lost. Choose the version to keep on every device.</p>
      <div className="versions-grid">
        {versions.map((version, index) => (
          <div
            key={version.key}
            className="version"
            role="group"
            aria-label={`Version ${index + 1}`}
            data-shown={version.shown}
          >
            <p className="version-head">
              <strong>{capitalised(authorName(version.author))}</strong>
              <time dateTime={new Date(version.at).toISOString()}>{formatTime(version.at)}</time>
              {version.shown && <span className="badge">shown now</span>}
            </p>
            <VersionText field="title" version={version} other={otherThan(versions, version)} />
            <VersionText field="body" version={version} other={otherThan(versions, version)} />
            <button type="button" className="button" onClick={() => onKeep(version.key)}>
              Keep this version
            </button>
          </div>
        ))}
      </div>
    </section>
  );
}

/** What a version is compared with: the one that is shown, or for that one the next. */
function otherThan(
  versions: readonly Version<NoteFields>[],
  version: Version<NoteFields>,
): Version<NoteFields> | undefined {
  return versions.find((other) => other !== version);
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
