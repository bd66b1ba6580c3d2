import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { openDocument } from "sync-sdk";
import { readAddress } from "./address";
import { tabName } from "./device";
import { StoreContext } from "./sync/hooks";
import { NotesStore } from "./sync/store";
import { App } from "./ui/App";
import { ErrorPage } from "./ui/ErrorPage";
import { Opening } from "./ui/Opening";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/header.css";
import "./styles/list.css";
import "./styles/editor.css";
import "./styles/conflicts.css";
import "./styles/notices.css";

const container = document.getElementById("root");
if (!container) throw new Error("the page has no #root");
const root = createRoot(container);

const address = readAddress(location);
document.title = address.document === "notes" ? "Notes" : `${address.document} – Notes`;

root.render(<Opening />);
try {
  const opened = await openDocument(address.document, {
    hub: address.hub,
    name: address.name ?? tabName(),
  });
  root.render(
    <StrictMode>
      <StoreContext value={new NotesStore(opened)}>
        <App address={address} />
      </StoreContext>
    </StrictMode>,
  );
} catch (error) {
  root.render(<ErrorPage document={address.document} error={error} />);
}
