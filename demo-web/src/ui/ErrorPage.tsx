interface Props {
  readonly document: string;
  readonly error: unknown;
}

/** Shown when the document cannot be opened at all. Nothing was changed on this device. */
export function ErrorPage({ document, error }: Props) {
  const message = error instanceof Error ? error.message : String(error);
  const code = codeOf(error);
  return (
    <main className="error-page">
      <h1>These notes could not be opened</h1>
      <p>
        The document <strong>{document}</strong> on this device was left as it is.
      </p>
      <pre role="alert">{message}</pre>
      {code && <p className="quiet">Error code: {code}</p>}
      <button type="button" className="button primary" onClick={() => location.reload()}>
        Try again
      </button>
    </main>
  );
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
