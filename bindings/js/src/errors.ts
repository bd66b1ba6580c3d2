/** Errors that the package throws and rejects with, and what makes the browser's errors into them. */

/** What went wrong, with a code that a program can tell apart. */
export class SyncError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "SyncError";
    this.code = code;
  }
}

/** Says what to do about a failure of the browser's store. */
export function storageError(cause: unknown): SyncError {
  if (cause instanceof SyncError) return cause;
  const name = cause instanceof Error || cause instanceof DOMException ? cause.name : "";
  switch (name) {
    case "QuotaExceededError":
      return new SyncError(
        "quota",
        "This device's storage is full, so nothing more can be saved here. Free some space, then reload the page.",
        { cause },
      );
    case "VersionError":
      return new SyncError(
        "newer",
        "The data on this device is from a newer version of this app. Reload the page to get that version.",
        { cause },
      );
    case "InvalidStateError":
      return new SyncError("closed-store", "The browser closed this page's storage. Reload the page.", { cause });
    default: {
      const detail = cause instanceof Error ? cause.message : String(cause);
      return new SyncError("storage", `Saving on this device failed (${detail || name}). Reload the page.`, { cause });
    }
  }
}
