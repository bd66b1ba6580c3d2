import type { KeyboardEvent } from "react";
import { SEARCH_ID } from "./focus";
import { SearchIcon } from "./icons";

interface Props {
  readonly query: string;
  readonly onQuery: (query: string) => void;
  /** Goes into the list. */
  readonly onLeave: () => void;
  readonly found: number | undefined;
}

export function SearchBox({ query, onQuery, onLeave, found }: Props) {
  const handleKey = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing) return;
    if (event.key === "Escape") {
      if (query === "") onLeave();
      onQuery("");
    } else if (event.key === "ArrowDown" || event.key === "Enter") {
      onLeave();
    } else {
      return;
    }
    event.preventDefault();
  };
  return (
    <search className="search">
      <SearchIcon />
      <input
        id={SEARCH_ID}
        type="text"
        inputMode="search"
        autoComplete="off"
        aria-label="Search"
        placeholder="Search"
        value={query}
        onChange={(event) => onQuery(event.target.value)}
        onKeyDown={handleKey}
      />
      <span className="search-found" aria-live="polite">
        {found === undefined ? "" : `${found} found`}
      </span>
    </search>
  );
}
