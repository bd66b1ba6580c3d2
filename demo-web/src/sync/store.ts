import type { Collection, SyncDocument, Write } from "sync-sdk";
import { contentOf, type Note, type NoteFields } from "../notes/note";
import { Safety } from "./safety";

/** The open document, its notes, and every write this app makes. */
export class NotesStore {
  readonly notes: Collection<NoteFields>;
  readonly safety = new Safety();
  #listeners = new Set<() => void>();
  #tick = 0;
  #problem: string | undefined;

  constructor(readonly document: SyncDocument) {
    this.notes = document.collection<NoteFields>("notes");
    document.subscribe(this.#changed);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Differs after each change; for values that the document does not keep stable itself. */
  readonly tick = (): number => this.#tick;

  /** Why the last write was not accepted at all; nothing once a write is accepted again. */
  readonly problem = (): string | undefined => this.#problem;

  /** Returns the id of the note, or nothing when the write was not accepted. */
  create(content: NoteFields = contentOf(undefined)): string | undefined {
    return this.#attempt(() => {
      const write = this.notes.insert(content);
      this.safety.follow(write.id, write);
      return write.id;
    });
  }

  /** Returns whether the write was accepted. */
  edit(id: string, fields: Partial<NoteFields>): boolean {
    return this.#write(id, () => this.notes.update(id, fields));
  }

  remove(note: Note): boolean {
    return this.#write(note.id, () => this.notes.remove(note.id));
  }

  keep(id: string, version: string): boolean {
    return this.#write(id, () => this.notes.keep(id, version));
  }

  #write(id: string, write: () => Write): boolean {
    const accepted = this.#attempt(() => {
      this.safety.follow(id, write());
      return true;
    });
    return accepted === true;
  }

  #attempt<T>(write: () => T): T | undefined {
    const before = this.#problem;
    try {
      const result = write();
      this.#problem = undefined;
      return result;
    } catch (error) {
      this.#problem = error instanceof Error ? error.message : String(error);
      return undefined;
    } finally {
      if (this.#problem !== before) this.#changed();
    }
  }

  readonly #changed = (): void => {
    this.#tick += 1;
    for (const listener of [...this.#listeners]) listener();
  };
}
