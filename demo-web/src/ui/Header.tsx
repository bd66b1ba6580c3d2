import type { Address } from "../address";
import { Logo } from "./icons";
import { OfflineSwitch } from "./OfflineSwitch";
import { OnlineList } from "./OnlineList";
import { StatusView } from "./StatusView";

export function Header({ address }: { readonly address: Address }) {
  return (
    <header className="header">
      <div className="brand">
        <Logo size={28} />
        <div>
          <h1>{address.document === "notes" ? "Notes" : address.document}</h1>
          {address.foreignHub && <p className="brand-hub">via {address.hub}</p>}
        </div>
      </div>
      <OnlineList />
      <StatusView />
      <OfflineSwitch />
    </header>
  );
}
