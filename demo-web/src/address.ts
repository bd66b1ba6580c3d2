/** What the address of the page asks for: which document, which hub, under which name. */
export interface Address {
  readonly document: string;
  readonly hub: string;
  /** True when the hub is not the server that the page came from. */
  readonly foreignHub: boolean;
  readonly name: string | undefined;
}

const DEFAULT_DOCUMENT = "notes";

export function readAddress(location: Location): Address {
  const query = new URLSearchParams(location.search);
  const ownHub = location.origin.replace(/^http/, "ws");
  const hub = nonEmpty(query.get("hub")) ?? ownHub;
  return {
    document: nonEmpty(query.get("doc")) ?? DEFAULT_DOCUMENT,
    hub,
    foreignHub: hub !== ownHub,
    name: nonEmpty(query.get("name")),
  };
}

/** The id of the note that the address names, so that a reload shows the same note again. */
export function noteInAddress(location: Location): string | null {
  try {
    return decodeURIComponent(location.hash.slice(1)) || null;
  } catch {
    return null;
  }
}

/** The address of one note, relative to the page. */
export function addressOfNote(id: string | null): string {
  return id === null ? location.pathname + location.search : `#${encodeURIComponent(id)}`;
}

function nonEmpty(text: string | null): string | undefined {
  return text?.trim() || undefined;
}
