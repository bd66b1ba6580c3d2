import { useRef, useState } from "react";
import { useStore } from "../sync/hooks";

/** All notes as one file, which another device reads, with or without a hub. */
export function Copies() {
  const { document: notes } = useStore();
  const input = useRef<HTMLInputElement>(null);
  const [outcome, setOutcome] = useState({ text: "", isFailure: false });

  const tell = (work: Promise<string>) => {
    setOutcome({ text: "", isFailure: false });
    work.then(
      (text) => setOutcome({ text, isFailure: false }),
      (error: unknown) => setOutcome({ text: error instanceof Error ? error.message : String(error), isFailure: true }),
    );
  };

  const save = async () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await notes.export());
    link.download = `${notes.name}.sync`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href));
    return "Saved as a file.";
  };

  const add = async (file: File) => {
    await notes.import(file);
    return "Its notes are on this device.";
  };

  return (
    <details className="fold copies">
      <summary>Copies</summary>
      <div className="copies-actions">
        <button type="button" className="button" onClick={() => tell(save())}>
          Save a copy
        </button>
        <button type="button" className="button" onClick={() => input.current?.click()}>
          Add a copy
        </button>
        <input
          ref={input}
          type="file"
          hidden
          aria-label="Copy to add"
          onChange={({ currentTarget }) => {
            const file = currentTarget.files?.[0];
            if (file) tell(add(file));
            currentTarget.value = "";
          }}
        />
      </div>
      <p className={outcome.isFailure ? "copies-failure" : "quiet"} role={outcome.isFailure ? "alert" : "status"}>
        {outcome.text || "A file with all notes; adding one joins it with what is here."}
      </p>
    </details>
  );
}
