import { useMemo } from "react";
import { useOnline, useStore } from "./hooks";

/** How to speak of a replica: by its name while it is here, else by the start of its id. */
export function useAuthorName(): (replica: string) => string {
  const { document } = useStore();
  const online = useOnline();
  return useMemo(() => {
    const names = new Map(online.map((peer) => [peer.replica, peer.name]));
    return (replica) => {
      if (replica === document.replica) return "this tab";
      return names.get(replica) ?? `device ${replica.slice(0, 6)}`;
    };
  }, [document, online]);
}

const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const DATE_AND_TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** The time alone for today, else with the date. */
export function formatTime(at: number): string {
  const date = new Date(at);
  const today = date.toDateString() === new Date().toDateString();
  return (today ? TIME : DATE_AND_TIME).format(date);
}
